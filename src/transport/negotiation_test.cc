#include "transport/negotiation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "testing/eventually.h"
#include "testing/transport_fixture.h"
#include "transport/inprocess/in_process_device.h"
#include "virtio/abi/config.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::eventually;
using testing::TransportFixture;

constexpr std::uint8_t kUpToFeatures = kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk;

struct Setup {
  TransportFixture::Kind kind;
  NotifyMode notify;
};

/// What holds behind every transport and in every mode.
class NegotiationTest : public ::testing::TestWithParam<Setup> {
 protected:
  TransportFixture fixture_{GetParam().kind, GetParam().notify};
  [[nodiscard]] bool sync() const { return GetParam().notify == NotifyMode::kSync; }
  [[nodiscard]] bool polled() const { return GetParam().notify == NotifyMode::kPoll; }
};

TEST_P(NegotiationTest, ComesUpAndEchoes) {
  ASSERT_TRUE(fixture_.bring_up());
  for (std::uint16_t queue = 0; queue < TransportFixture::kQueues; ++queue) {
    for (int i = 0; i < 100; ++i) {
      ASSERT_TRUE(fixture_.echoes(queue, static_cast<std::uint8_t>(i)));
      EXPECT_TRUE(fixture_.interrupted(queue));
    }
  }
  EXPECT_EQ(fixture_.echo->features_seen, TransportFixture::features());
  EXPECT_EQ(fixture_.life->guest_faults(), 0U);
  // Kicks reach the eventfd without an exit, or the other way round: once the I/O thread sleeps,
  // the driver is asked for them.
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  ASSERT_TRUE(fixture_.echoes(0, 1));
  EXPECT_EQ(fixture_.vm.ioeventfds().size(), sync() ? 0U : TransportFixture::kQueues);
  if (!polled()) {
    EXPECT_EQ(fixture_.port.rings() == 0, sync());
  }
}

TEST_P(NegotiationTest, ForgetsEverythingAtReset) {
  ASSERT_TRUE(fixture_.bring_up());
  ASSERT_TRUE(fixture_.echoes(0, 1));
  fixture_.driver->set_status(0);
  EXPECT_EQ(fixture_.driver->status(), 0);
  EXPECT_EQ(fixture_.echo->resets, 1U);
  EXPECT_FALSE(fixture_.driver->queue_enabled(0));
  EXPECT_TRUE(fixture_.vm.ioeventfds().empty());
  // A driver that acknowledges nothing now is not one of version 1.
  fixture_.driver->set_status(kStatusAcknowledge | kStatusDriver);
  fixture_.driver->set_status(kUpToFeatures);
  EXPECT_EQ(fixture_.driver->status() & kStatusFeaturesOk, 0);
  EXPECT_TRUE(fixture_.works_after_reset());
}

// The refusal decides for the queue, is survived, and costs nothing but exits.
TEST_P(NegotiationTest, FallsBackToExitsWhereTheHostRefusesADoorbell) {
  fixture_.vm.set_max_ioeventfds(1);
  ASSERT_TRUE(fixture_.bring_up());
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(fixture_.echoes(0, static_cast<std::uint8_t>(i)));
    EXPECT_TRUE(fixture_.echoes(1, static_cast<std::uint8_t>(i)));
  }
  // A queue that is polled has no need of a doorbell while there is traffic.
  EXPECT_EQ(fixture_.life->drain(1), polled() ? Drain::kByIoThread : Drain::kByVcpu);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_TRUE(fixture_.echoes(1, 1)) << "nor is it left lying when there was none for a while";
  EXPECT_EQ(fixture_.life->drain(0), sync() ? Drain::kByVcpu : Drain::kByIoThread);
  fixture_.vm.set_max_ioeventfds(100);
  EXPECT_TRUE(fixture_.works_after_reset());
  EXPECT_EQ(fixture_.life->drain(1), sync() ? Drain::kByVcpu : Drain::kByIoThread);
}

TEST_P(NegotiationTest, ReadsAndWritesConfiguration) {
  ASSERT_TRUE(fixture_.bring_up());
  const std::uint64_t at = fixture_.driver->config_address();
  EXPECT_EQ(fixture_.port.load(at, 1), 1U);
  EXPECT_EQ(fixture_.port.load(at + 2, 2), 0x0403U);
  EXPECT_EQ(fixture_.port.load(at + 4, 4), 0x08070605U);
  fixture_.port.store(at + 4, 0xaabbccdd, 4);
  EXPECT_EQ(fixture_.port.load(at + 4, 4), 0xaabbccddU);
  EXPECT_EQ(fixture_.life->guest_faults(), 0U);
}

TEST_P(NegotiationTest, ADeviceTellsOfItsConfigurationsChange) {
  fixture_.echo->change_config();
  ASSERT_TRUE(fixture_.bring_up());
  const std::uint8_t generation = fixture_.life->config_generation();
  const auto told = [&] {
    fixture_.settle();
    if (!fixture_.pci) return fixture_.binder.take_edge(TransportFixture::kMmioGsi);
    const bool came = fixture_.vm.delivered_count(TransportFixture::message(0)) != 0;
    fixture_.vm.clear_delivered();
    return came;
  };
  (void)told();
  fixture_.echo->change_config();
  EXPECT_TRUE(told());
  EXPECT_NE(fixture_.life->config_generation(), generation);
  EXPECT_FALSE(told());
  EXPECT_TRUE(fixture_.echoes(0, 3));
}

// Row 14 of the bad inputs.
TEST_P(NegotiationTest, ConfigurationEndsWhereItEnds) {
  ASSERT_TRUE(fixture_.bring_up());
  const std::uint64_t at = fixture_.driver->config_address();
  EXPECT_EQ(fixture_.port.load(at + 8, 8), 0x0c0b0a09U);  // the half past the end reads 0
  EXPECT_EQ(fixture_.port.load(at + 12, 4), 0U);
  fixture_.port.store(at + 10, 0xffffffff, 4);
  fixture_.port.store(at + 100, 0xffffffff, 4);
  EXPECT_EQ(fixture_.port.load(at + 8, 4), 0x0c0b0a09U);
  EXPECT_EQ(fixture_.life->guest_faults(), 2U);
  EXPECT_TRUE(fixture_.echoes(0, 1));
}

// Row 14.
TEST_P(NegotiationTest, QueuesThatAreAbsentReadAsAbsent) {
  if (fixture_.pci) {
    ASSERT_TRUE(fixture_.pci->probe());
  }
  for (const std::uint16_t queue : {std::uint16_t{2}, std::uint16_t{1000}, std::uint16_t{0xffff}}) {
    EXPECT_EQ(fixture_.driver->queue_max_size(queue), 0U);
    fixture_.driver->write_queue(queue, fixture_.rings[0].config());
    fixture_.driver->enable_queue(queue);
    EXPECT_FALSE(fixture_.driver->queue_enabled(queue));
  }
  EXPECT_GT(fixture_.life->guest_faults(), 0U);
  EXPECT_TRUE(fixture_.works_after_reset());
}

// Row 13.
TEST_P(NegotiationTest, RegistersOfARunningQueueStayAsTheyAre) {
  ASSERT_TRUE(fixture_.bring_up());
  const std::uint64_t desc = fixture_.driver->queue_desc(0);
  QueueConfig moved = fixture_.rings[0].config();
  moved.desc = GuestAddress(0x1000);
  moved.driver = GuestAddress(0xffffffffffff0000);
  moved.device = GuestAddress(3);
  moved.size = 32768;
  fixture_.driver->write_queue(0, moved);
  fixture_.driver->enable_queue(0);
  EXPECT_GE(fixture_.life->guest_faults(), 4U);
  EXPECT_EQ(fixture_.driver->queue_desc(0), desc);
  EXPECT_TRUE(fixture_.echoes(0, 7));
  EXPECT_TRUE(fixture_.works_after_reset());
}

// Row 13: enabling is the point of no return, before DRIVER_OK already.
TEST_P(NegotiationTest, RegistersOfAnEnabledQueueStayAsTheyAre) {
  if (fixture_.pci) {
    ASSERT_TRUE(fixture_.pci->probe());
  }
  ASSERT_TRUE(fixture_.driver->negotiate(TransportFixture::features()));
  fixture_.driver->write_queue(0, fixture_.rings[0].config());
  fixture_.driver->enable_queue(0);
  QueueConfig moved = fixture_.rings[0].config();
  moved.size = 3;
  fixture_.driver->write_queue(0, moved);
  EXPECT_EQ(fixture_.life->queue(0).size, TransportFixture::kSize);
  fixture_.driver->set_status(kUpToFeatures | kStatusDriverOk);
  EXPECT_TRUE(fixture_.echoes(0, 9));
}

// Row 10: what only activation can judge.
TEST_P(NegotiationTest, ImpossibleQueuesNeedAReset) {
  if (fixture_.pci) {
    ASSERT_TRUE(fixture_.pci->probe());
  }
  const QueueConfig good = fixture_.rings[0].config();
  std::vector<QueueConfig> bad(7, good);
  bad[0].size = 0;
  bad[1].size = 24;
  // Over the maximum of this device, and well laid out.
  bad[2] = {.size = 128,
            .ready = false,
            .desc = GuestAddress(0x100000),
            .driver = GuestAddress(0x110000),
            .device = GuestAddress(0x120000)};
  bad[3].desc = GuestAddress(good.desc.value() + 1);
  bad[4].device = good.driver;
  bad[5].driver = GuestAddress(UINT64_MAX - 1);
  bad[6].desc = GuestAddress(std::uint64_t{1} << 40);
  for (const QueueConfig& config : bad) {
    ASSERT_TRUE(fixture_.driver->negotiate(TransportFixture::features()));
    fixture_.driver->write_queue(0, config);
    fixture_.driver->enable_queue(0);
    fixture_.driver->set_status(kUpToFeatures | kStatusDriverOk);
    EXPECT_NE(fixture_.driver->status() & kStatusNeedsReset, 0);
    fixture_.driver->kick(0);
    EXPECT_TRUE(fixture_.vm.ioeventfds().empty());
  }
  EXPECT_TRUE(fixture_.works_after_reset());
}

TEST_P(NegotiationTest, ADeviceThatCannotStartNeedsAReset) {
  fixture_.echo->refuse_to_start = true;
  EXPECT_FALSE(fixture_.bring_up());
  EXPECT_NE(fixture_.driver->status() & kStatusNeedsReset, 0);
  EXPECT_TRUE(fixture_.vm.ioeventfds().empty());
  fixture_.driver->kick(0);
  fixture_.echo->refuse_to_start = false;
  EXPECT_TRUE(fixture_.works_after_reset());
}

TEST_P(NegotiationTest, WhatTheHostRefusesIsToldOnceAndIsNoFaultOfTheDriver) {
  fixture_.echo->refuse_to_start = true;
  ::testing::internal::CaptureStderr();
  EXPECT_FALSE(fixture_.bring_up());
  const std::uint64_t before = fixture_.life->guest_faults();
  fixture_.driver->kick(0);
  EXPECT_EQ(fixture_.life->guest_faults(), before);
  const std::string told = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::ranges::count(told, '\n'), 1) << told;
  EXPECT_THAT(told, ::testing::HasSubstr("the echo is out of order"));
  // Nothing is refused any more: a kick at a wrong time is the driver's fault again.
  fixture_.driver->set_status(0);
  fixture_.driver->kick(0);
  EXPECT_GT(fixture_.life->guest_faults(), before);
}

TEST(InProcessDevice, HandsOnWhatTheHostRefusesAndLogsNothing) {
  testing::TransportFixture fixture(testing::TransportFixture::Kind::kMmio);
  auto echo = std::make_unique<testing::EchoDevice>(1);
  echo->refuse_to_start = true;
  auto device = InProcessDevice::create(std::move(echo), {.memory = &fixture.memory,
                                                          .threads = {fixture.thread.get()},
                                                          .notify = NotifyMode::kIoEventFd});
  ASSERT_TRUE(device.has_value());
  const QueueConfig config = fixture.rings[0].config();
  ::testing::internal::CaptureStderr();
  const auto started = (*device)->start(testing::TransportFixture::features(), {&config, 1});
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
  ASSERT_FALSE(started.has_value());
  EXPECT_EQ(started.error().message, "the echo is out of order");
}

// Row 15.
TEST_P(NegotiationTest, StatusTakesLegalStepsOnly) {
  if (fixture_.pci) {
    ASSERT_TRUE(fixture_.pci->probe());
  }
  testing::RegisterDriver& driver = *fixture_.driver;
  // DRIVER_OK without features.
  driver.set_status(kStatusAcknowledge | kStatusDriver | kStatusDriverOk);
  EXPECT_EQ(driver.status() & kStatusDriverOk, 0);
  EXPECT_EQ(fixture_.echo->activations, 0U);
  // Features that were not offered; and none at all, which is a legacy driver's idea.
  for (const std::uint64_t features :
       {TransportFixture::features() | feature_mask(kFeatureSrIov),
        TransportFixture::features() | feature_mask(5), std::uint64_t{0},
        std::uint64_t{testing::EchoDevice::kFeature}}) {
    EXPECT_FALSE(driver.negotiate(features));
    // FEATURES_OK not read back: the driver goes on regardless.
    driver.set_status(kStatusAcknowledge | kStatusDriver | kStatusDriverOk);
    EXPECT_EQ(driver.status() & kStatusDriverOk, 0);
  }
  // Settled features stay so.
  ASSERT_TRUE(driver.negotiate(TransportFixture::features()));
  driver.set_driver_features(UINT64_MAX);
  EXPECT_EQ(fixture_.negotiation->driver_features(1), TransportFixture::features() >> 32);
  // Bits are not taken back, and NEEDS_RESET is the device's.
  driver.set_status(kStatusAcknowledge);
  EXPECT_EQ(driver.status(), kUpToFeatures);
  driver.set_status(kUpToFeatures | kStatusNeedsReset | 0x30);
  EXPECT_EQ(driver.status(), kUpToFeatures);
  EXPECT_EQ(fixture_.echo->activations, 0U);
  EXPECT_TRUE(fixture_.works_after_reset());
}

// Row 16.
TEST_P(NegotiationTest, KicksAtTheWrongTimeDoNothing) {
  if (fixture_.pci) {
    ASSERT_TRUE(fixture_.pci->probe());
  }
  fixture_.driver->kick(0);
  fixture_.add(0, 3);
  static_cast<void>(fixture_.rings[0].offer());
  ASSERT_TRUE(fixture_.driver->negotiate(TransportFixture::features()));
  fixture_.driver->write_queue(0, fixture_.rings[0].config());
  fixture_.driver->kick(0);
  fixture_.driver->enable_queue(0);
  fixture_.driver->kick(0);
  EXPECT_EQ(fixture_.rings[0].used_idx(), 0);
  EXPECT_EQ(fixture_.life->guest_faults(), 3U);
  fixture_.driver->set_status(kUpToFeatures | kStatusDriverOk);
  // What was offered before is served all the same.
  EXPECT_TRUE(fixture_.reap(0));
  // A queue that was left disabled, and one that is not there.
  fixture_.driver->kick(1);
  fixture_.driver->kick(700);
  EXPECT_GE(fixture_.life->guest_faults(), 5U);
  EXPECT_TRUE(fixture_.echoes(0, 4));
  fixture_.driver->set_status(0);
  fixture_.driver->kick(0);
  fixture_.settle();
  EXPECT_TRUE(fixture_.works_after_reset());
}

// Row 17: four vCPUs that do nothing but kick, while a fifth resets and the machine pauses.
TEST_P(NegotiationTest, SurvivesKickStorms) {
  ASSERT_TRUE(fixture_.bring_up());
  std::atomic<bool> enough{false};
  std::vector<std::thread> vcpus;
  for (unsigned i = 0; i < 3; ++i) {
    vcpus.emplace_back([&, i] {
      while (!enough) fixture_.driver->kick(static_cast<std::uint16_t>(i % 2));
    });
  }
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(fixture_.bring_up());
    EXPECT_TRUE(fixture_.echoes(0, static_cast<std::uint8_t>(i)));
    fixture_.life->pause();
    fixture_.life->resume();
    EXPECT_TRUE(fixture_.echoes(1, static_cast<std::uint8_t>(i)));
  }
  enough = true;
  for (std::thread& vcpu : vcpus) vcpu.join();
  EXPECT_TRUE(fixture_.works_after_reset());
  EXPECT_EQ(fixture_.binder.bad_detaches(), 0U);
}

// Row 19: a reset waits for what is in flight, and what comes late comes to nobody.
TEST_P(NegotiationTest, ResetsWithRequestsInFlight) {
  for (int round = 0; round < 20; ++round) {
    ASSERT_TRUE(fixture_.bring_up());
    fixture_.echo->hold = true;
    for (std::uint16_t queue = 0; queue < TransportFixture::kQueues; ++queue) {
      fixture_.add(queue, 1);
      if (fixture_.rings[queue].offer()) fixture_.driver->kick(queue);
    }
    ASSERT_TRUE(eventually([&] { return fixture_.echo->held == TransportFixture::kQueues; }));
    std::atomic<bool> released{false};
    std::thread medium([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      released = true;
      fixture_.echo->release();
    });
    fixture_.driver->set_status(0);
    EXPECT_TRUE(released);
    EXPECT_EQ(fixture_.echo->held, 0U);
    medium.join();
  }
  EXPECT_TRUE(fixture_.works_after_reset());
}

// Row 19: and so does removal.
TEST_P(NegotiationTest, IsRemovedWithRequestsInFlight) {
  ASSERT_TRUE(fixture_.bring_up());
  fixture_.echo->hold = true;
  fixture_.add(0, 1);
  if (fixture_.rings[0].offer()) fixture_.driver->kick(0);
  ASSERT_TRUE(eventually([&] { return fixture_.echo->held == 1U; }));
  testing::EchoDevice* echo = fixture_.echo;
  std::atomic<bool> started{false};
  std::thread medium([&] {
    started = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    echo->release();
  });
  ASSERT_TRUE(eventually([&] { return started.load(); }));
  fixture_.negotiation->reset();
  medium.join();
  fixture_.pci_device.reset();
  fixture_.mmio_device.reset();
  EXPECT_TRUE(fixture_.vm.ioeventfds().empty());
  EXPECT_TRUE(fixture_.vm.irqfds().empty());
  EXPECT_EQ(fixture_.vm.routes(), 0U);
  EXPECT_EQ(fixture_.binder.pins(), 0U);
  EXPECT_EQ(fixture_.rings[0].used_idx(), 1);
}

TEST_P(NegotiationTest, PausesAndResumesWithNothingLost) {
  ASSERT_TRUE(fixture_.bring_up());
  for (int round = 0; round < 200; ++round) {
    fixture_.add(0, static_cast<std::uint8_t>(round));
    const bool kick = fixture_.rings[0].offer();
    if (kick && round % 2 == 0) fixture_.driver->kick(0);
    fixture_.life->pause();
    const std::uint16_t used = fixture_.rings[0].used_idx();
    fixture_.settle();
    EXPECT_EQ(fixture_.rings[0].used_idx(), used) << "the queue works while paused";
    fixture_.life->resume();
    if (kick && round % 2 != 0) fixture_.driver->kick(0);
    ASSERT_TRUE(fixture_.reap(0)) << round;
  }
  fixture_.life->pause();
  fixture_.life->pause();
  fixture_.life->resume();
  fixture_.life->resume();
  EXPECT_TRUE(fixture_.echoes(1, 5));
}

// The vCPU stood still between its offer and its kick, which may have been for nobody.
TEST_P(NegotiationTest, WhatWasOfferedDuringAPauseIsServedWithoutAKick) {
  ASSERT_TRUE(fixture_.bring_up());
  for (int round = 0; round < 10; ++round) {
    fixture_.life->pause();
    for (std::uint16_t queue = 0; queue < TransportFixture::kQueues; ++queue) {
      fixture_.add(queue, static_cast<std::uint8_t>(round));
      static_cast<void>(fixture_.rings[queue].offer());
    }
    fixture_.life->resume();
    for (std::uint16_t queue = 0; queue < TransportFixture::kQueues; ++queue) {
      ASSERT_TRUE(fixture_.reap(queue)) << "queue " << queue << ", round " << round;
      EXPECT_EQ(fixture_.answer(queue), round);
    }
  }
}

// The doorbell rang when nobody looked at it any more, and there is another driver now.
TEST_P(NegotiationTest, AResetForgetsAKickThatNobodyHasHeard) {
  ASSERT_TRUE(fixture_.bring_up());
  fixture_.life->pause();
  const auto kicks = [&] { return fixture_.life->counters(0).kicks.get(); };
  const std::uint64_t before = kicks();
  fixture_.life->doorbell(0).signal();
  ASSERT_TRUE(fixture_.bring_up());
  fixture_.driver->kick(0);
  EXPECT_TRUE(eventually([&] { return kicks() != before; }));
  fixture_.settle();
  EXPECT_EQ(kicks(), before + 1);
}

// Ring faults stop the device, and only until the reset (rows 1 and 3, seen from the registers).
TEST_P(NegotiationTest, ABrokenRingNeedsAReset) {
  ASSERT_TRUE(fixture_.bring_up());
  fixture_.rings[0].break_ring();
  fixture_.driver->kick(0);
  EXPECT_TRUE(eventually([&] { return (fixture_.driver->status() & kStatusNeedsReset) != 0; }));
  EXPECT_TRUE(fixture_.echoes(1, 5)) << "the other queue never noticed";
  EXPECT_TRUE(fixture_.works_after_reset());
}

// A back end is made for the thread that drains when the device is activated: whatever the host
// refuses later, through whichever register, that thread stays the same.
TEST_P(NegotiationTest, WhoDrainsIsSettledUntilTheReset) {
  ASSERT_TRUE(fixture_.bring_up());
  const Drain settled = sync() ? Drain::kByVcpu : Drain::kByIoThread;
  const auto holds = [&](const char* after) {
    for (std::uint16_t queue = 0; queue < TransportFixture::kQueues; ++queue) {
      EXPECT_EQ(fixture_.life->drain(queue), settled) << after;
      EXPECT_TRUE(fixture_.echoes(queue, static_cast<std::uint8_t>(queue + 1))) << after;
    }
  };
  // None, one that the neighbour has taken meanwhile, and all of them.
  for (const unsigned allowed : {0U, 1U, 100U}) {
    fixture_.vm.set_max_ioeventfds(allowed);
    fixture_.life->pause();
    fixture_.life->resume();
    holds("pause and resume");
    if (fixture_.pci) {
      fixture_.pci->set_command(kPciCommandMemory);
      fixture_.pci->set_command(kPciCommandMemory | kPciCommandBusMaster);
      holds("bus mastering off and on");
      fixture_.pci->move_bar(fixture_.pci->bar() + 0x10'0000);
      holds("a BAR that moved");
      fixture_.pci->set_command(kPciCommandBusMaster);
      fixture_.pci->set_command(kPciCommandMemory | kPciCommandBusMaster);
      holds("decoding off and on");
    }
    for (std::uint16_t queue = 0; queue < TransportFixture::kQueues; ++queue) {
      const auto state = fixture_.life->quiesce_queue(queue);
      ASSERT_TRUE(state.has_value());
      EXPECT_EQ(state->next_avail, state->next_used) << "all of it was given back";
      ASSERT_TRUE(fixture_.life->resume_queue(queue, *state).has_value());
    }
    holds("one queue after the other");
  }
  // A reset begins anew: without ioeventfds a vCPU drains, unless the queue is polled.
  fixture_.vm.set_max_ioeventfds(0);
  ASSERT_TRUE(fixture_.bring_up());
  EXPECT_EQ(fixture_.life->drain(0), polled() ? Drain::kByIoThread : Drain::kByVcpu);
  EXPECT_TRUE(fixture_.echoes(0, 9));
}

INSTANTIATE_TEST_SUITE_P(
    Everywhere, NegotiationTest,
    ::testing::Values(Setup{TransportFixture::Kind::kPci, NotifyMode::kIoEventFd},
                      Setup{TransportFixture::Kind::kPci, NotifyMode::kSync},
                      Setup{TransportFixture::Kind::kPci, NotifyMode::kPoll},
                      Setup{TransportFixture::Kind::kPci, NotifyMode::kAdaptive},
                      Setup{TransportFixture::Kind::kMmio, NotifyMode::kIoEventFd},
                      Setup{TransportFixture::Kind::kMmio, NotifyMode::kSync}),
    [](const ::testing::TestParamInfo<Setup>& p) {
      return std::string(p.param.kind == TransportFixture::Kind::kPci ? "pci_" : "mmio_") +
             to_string(p.param.notify);
    });

}  // namespace
}  // namespace bellhop
