// VIRTIO_F_RING_RESET: one queue is reset while the others go on (virtio 1.3, 2.6.1).
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "testing/eventually.h"
#include "testing/mode_changer.h"
#include "testing/transport_fixture.h"
#include "virtio/abi/config.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::eventually;
using testing::TransportFixture;
using Kind = TransportFixture::Kind;

constexpr std::uint64_t kRingReset = feature_mask(kFeatureRingReset);
constexpr std::uint16_t kOtherSize = 8;

class QueueResetTest : public ::testing::TestWithParam<std::tuple<Kind, NotifyMode>> {
 protected:
  static Kind kind() { return std::get<0>(GetParam()); }
  static NotifyMode mode() { return std::get<1>(GetParam()); }

  /// The driver resets a queue and makes a new ring for it, which is not enabled yet.
  void reset(std::uint16_t queue, std::uint16_t size = kOtherSize) {
    driver().reset_queue(queue);
    fixture_.lay_out_ring_anew(queue, size);
  }
  bool both_echo(std::uint8_t value) {
    return fixture_.echoes(0, value) && fixture_.echoes(1, static_cast<std::uint8_t>(value + 1));
  }
  /// What a ring's memory holds.
  [[nodiscard]] std::vector<std::byte> bytes_of(const QueueConfig& ring) const {
    std::vector<std::byte> bytes(testing::FakeDriver::bytes_needed(ring.size));
    EXPECT_TRUE(fixture_.memory.read(ring.desc, bytes));
    return bytes;
  }
  /// Offers without looking whether the device wants to hear of it, and kicks.
  void offer_and_kick(std::uint16_t queue, std::uint8_t value) {
    fixture_.add(queue, value);
    (void)fixture_.rings[queue].offer();
    driver().kick(queue);
  }
  [[nodiscard]] std::uint64_t faults() const { return fixture_.life->guest_faults(); }
  testing::RegisterDriver& driver() { return *fixture_.driver; }

  TransportFixture fixture_{kind(), mode(), kRingReset};
};

TEST_P(QueueResetTest, IsOfferedWhereItWasAskedFor) {
  TransportFixture plain(kind(), mode());
  if (plain.pci) {
    ASSERT_TRUE(plain.pci->probe());
    ASSERT_TRUE(fixture_.pci->probe());
  }
  EXPECT_EQ(plain.driver->device_features() & kRingReset, 0U);
  EXPECT_NE(driver().device_features() & kRingReset, 0U);
}

TEST_P(QueueResetTest, TheOthersGoOnAndTheQueueComesBackWithAnotherRing) {
  ASSERT_TRUE(fixture_.bring_up());
  ASSERT_TRUE(both_echo(1));
  driver().reset_queue(0);
  EXPECT_FALSE(driver().queue_in_reset(0));
  EXPECT_FALSE(driver().queue_enabled(0));
  EXPECT_TRUE(driver().queue_enabled(1));
  EXPECT_EQ(driver().queue_max_size(0), fixture_.life->queue_max_size());
  EXPECT_EQ(driver().queue_desc(0), 0U);
  ASSERT_TRUE(fixture_.echoes(1, 3));
  fixture_.lay_out_ring_anew(0, kOtherSize);
  fixture_.enable_anew(0);
  EXPECT_TRUE(driver().queue_enabled(0));
  EXPECT_FALSE(driver().queue_in_reset(0));
  // More than once around the ring, which is smaller than the one before.
  for (std::uint8_t i = 0; i < 3 * kOtherSize; ++i) ASSERT_TRUE(both_echo(i));
  EXPECT_EQ(faults(), 0U);
  EXPECT_EQ(driver().status() & kStatusNeedsReset, 0);
}

TEST_P(QueueResetTest, OfTheOldRingNotAByteChanges) {
  ASSERT_TRUE(fixture_.bring_up());
  ASSERT_TRUE(both_echo(1));
  const QueueConfig old = fixture_.rings[0].config();
  // Offered, and perhaps taken, when the reset comes.
  for (std::uint8_t i = 0; i < 5; ++i) fixture_.add(0, i);
  (void)fixture_.rings[0].offer();
  driver().kick(0);
  driver().reset_queue(0);
  const auto before = bytes_of(old);
  offer_and_kick(0, 7);
  const auto offered = bytes_of(old);
  EXPECT_NE(offered, before);
  fixture_.settle();
  ASSERT_TRUE(fixture_.echoes(1, 3));
  fixture_.lay_out_ring_anew(0, kOtherSize);
  fixture_.enable_anew(0);
  ASSERT_TRUE(both_echo(4));
  EXPECT_EQ(bytes_of(old), offered);
}

TEST_P(QueueResetTest, WaitsForRequestsInFlight) {
  ASSERT_TRUE(fixture_.bring_up());
  ASSERT_TRUE(both_echo(1));
  fixture_.echo->hold = true;
  for (std::uint8_t i = 0; i < 3; ++i) fixture_.add(0, i);
  (void)fixture_.rings[0].offer();
  driver().kick(0);
  ASSERT_TRUE(eventually([&] { return fixture_.echo->held == 3; }));
  const QueueConfig old = fixture_.rings[0].config();
  std::atomic<bool> done{false};
  std::thread vcpu([&] {
    driver().reset_queue(0);
    done = true;
  });
  fixture_.settle();
  EXPECT_FALSE(done) << "requests are in flight";
  fixture_.echo->release();
  vcpu.join();
  const auto after = bytes_of(old);
  EXPECT_EQ(fixture_.echo->held, 0U);
  fixture_.settle();
  EXPECT_EQ(bytes_of(old), after);
  fixture_.lay_out_ring_anew(0, kOtherSize);
  fixture_.enable_anew(0);
  EXPECT_TRUE(both_echo(9));
}

TEST_P(QueueResetTest, WhatIsOfferedBeforeItIsEnabledAgainIsServedThen) {
  ASSERT_TRUE(fixture_.bring_up());
  ASSERT_TRUE(both_echo(1));
  reset(0);
  offer_and_kick(0, 5);
  fixture_.settle();
  EXPECT_EQ(fixture_.rings[0].used_idx(), 0U);
  fixture_.enable_anew(0);
  EXPECT_TRUE(fixture_.reap(0));
  EXPECT_EQ(fixture_.answer(0), 5);
}

TEST_P(QueueResetTest, ItsIoEventFdIsGivenBackAndTakenAgain) {
  ASSERT_TRUE(fixture_.bring_up());
  const std::size_t all = mode() == NotifyMode::kSync ? 0 : TransportFixture::kQueues;
  ASSERT_EQ(fixture_.vm.ioeventfds().size(), all);
  for (int i = 0; i < 3; ++i) {
    driver().reset_queue(1);
    EXPECT_EQ(fixture_.vm.ioeventfds().size(), all / 2);
    fixture_.lay_out_ring_anew(1, kOtherSize);
    fixture_.enable_anew(1);
    EXPECT_EQ(fixture_.vm.ioeventfds().size(), all);
    ASSERT_TRUE(both_echo(1));
  }
  // None is left: kicks come as exits, and are passed on.
  driver().reset_queue(1);
  fixture_.vm.set_max_ioeventfds(all / 2);
  fixture_.lay_out_ring_anew(1, kOtherSize);
  fixture_.enable_anew(1);
  EXPECT_TRUE(both_echo(3));
  driver().set_status(0);
  EXPECT_TRUE(fixture_.vm.ioeventfds().empty());
  EXPECT_EQ(fixture_.binder.bad_detaches(), 0U);
}

TEST_P(QueueResetTest, UnderAPauseAtEachStep) {
  for (int paused_from = 0; paused_from < 3; ++paused_from) {
    for (int paused_to = paused_from; paused_to < 3; ++paused_to) {
      SCOPED_TRACE(std::to_string(paused_from) + " to " + std::to_string(paused_to));
      ASSERT_TRUE(fixture_.bring_up());
      ASSERT_TRUE(both_echo(1));
      for (int step = 0; step < 3; ++step) {
        if (step == paused_from) fixture_.life->pause();
        if (step == 0) driver().reset_queue(0);
        if (step == 1) fixture_.lay_out_ring_anew(0, kOtherSize);
        if (step == 2) fixture_.enable_anew(0);
        if (step == paused_to) fixture_.life->resume();
      }
      ASSERT_TRUE(both_echo(3));
      // And once more, with nothing left of the pause.
      fixture_.life->pause();
      fixture_.life->resume();
      ASSERT_TRUE(both_echo(5));
    }
  }
  EXPECT_EQ(faults(), 0U);
}

TEST_P(QueueResetTest, AQueueThatIsResetStaysResetAfterAPause) {
  ASSERT_TRUE(fixture_.bring_up());
  ASSERT_TRUE(both_echo(1));
  driver().reset_queue(0);
  fixture_.life->pause();
  fixture_.life->resume();
  EXPECT_FALSE(fixture_.life->running(0));
  EXPECT_FALSE(driver().queue_enabled(0));
  ASSERT_TRUE(fixture_.echoes(1, 2));
  fixture_.lay_out_ring_anew(0, kOtherSize);
  fixture_.enable_anew(0);
  EXPECT_TRUE(both_echo(3));
}

TEST_P(QueueResetTest, WithoutBusMastering) {
  if (!fixture_.pci) return;
  ASSERT_TRUE(fixture_.bring_up());
  ASSERT_TRUE(both_echo(1));
  fixture_.pci->set_command(kPciCommandMemory);
  reset(0);
  fixture_.enable_anew(0);
  offer_and_kick(0, 5);
  fixture_.settle();
  EXPECT_EQ(fixture_.rings[0].used_idx(), 0U);
  fixture_.pci->set_command(kPciCommandMemory | kPciCommandBusMaster);
  EXPECT_TRUE(fixture_.reap(0));
  EXPECT_EQ(fixture_.answer(0), 5);
  EXPECT_TRUE(both_echo(6));
}

TEST_P(QueueResetTest, ItsVectorIsResetToo) {
  if (!fixture_.pci) return;
  ASSERT_TRUE(fixture_.bring_up());
  ASSERT_TRUE(both_echo(1));
  driver().reset_queue(0);
  fixture_.pci->set_common(kCommonQueueSelect, 0, 2);
  EXPECT_EQ(fixture_.pci->common(kCommonQueueMsixVector, 2), kMsiNoVector);
  fixture_.lay_out_ring_anew(0, kOtherSize);
  fixture_.enable_anew(0);
  (void)fixture_.interrupted(0);
  // With the vector of the other one.
  fixture_.pci->set_common(kCommonQueueSelect, 0, 2);
  fixture_.pci->set_common(kCommonQueueMsixVector, 2, 2);
  ASSERT_TRUE(fixture_.echoes(0, 2));
  EXPECT_TRUE(eventually([&] { return fixture_.interrupted(1); }));
  EXPECT_EQ(faults(), 0U);
}

TEST_P(QueueResetTest, ARingThatCannotBeNeedsAResetOfTheDevice) {
  ASSERT_TRUE(fixture_.bring_up());
  ASSERT_TRUE(both_echo(1));
  for (int way = 0; way < 3; ++way) {
    driver().reset_queue(0);
    fixture_.lay_out_ring_anew(0, kOtherSize);
    QueueConfig config = fixture_.rings[0].config();
    if (way == 0) config.size = 0;
    if (way == 1) config.size = 4096;  // over the device's own
    if (way == 2) config.device = GuestAddress(0x7fff'ffff'0000);
    driver().write_queue(0, config);
    driver().enable_queue(0);
    EXPECT_FALSE(driver().queue_enabled(0));
    EXPECT_NE(driver().status() & kStatusNeedsReset, 0);
    driver().kick(0);
    EXPECT_TRUE(fixture_.echoes(1, 2)) << "the other queue goes on";
  }
  EXPECT_TRUE(fixture_.works_after_reset());
  EXPECT_EQ(driver().status() & kStatusNeedsReset, 0);
}

TEST_P(QueueResetTest, ABrokenRingCanBeReset) {
  ASSERT_TRUE(fixture_.bring_up());
  fixture_.rings[0].break_ring();
  driver().kick(0);
  ASSERT_TRUE(eventually([&] { return (driver().status() & kStatusNeedsReset) != 0; }));
  reset(0);
  fixture_.enable_anew(0);
  EXPECT_TRUE(both_echo(1));
}

// Row 13a.
TEST_P(QueueResetTest, WhatWasNotNegotiatedIsIgnored) {
  TransportFixture plain(kind(), mode());
  ASSERT_TRUE(plain.bring_up());
  ASSERT_TRUE(plain.echoes(0, 1));
  plain.driver->reset_queue(0);
  EXPECT_EQ(plain.life->guest_faults(), 1U);
  EXPECT_TRUE(plain.driver->queue_enabled(0));
  EXPECT_TRUE(plain.echoes(0, 2));
  // Offered, but not taken: neither before FEATURES_OK nor after.
  if (fixture_.pci) {
    ASSERT_TRUE(fixture_.pci->probe());
  }
  driver().reset_queue(0);
  EXPECT_EQ(faults(), 1U);
  ASSERT_TRUE(driver().bring_up(TransportFixture::features(), fixture_.configs()));
  driver().reset_queue(0);
  EXPECT_EQ(faults(), 2U);
  EXPECT_TRUE(fixture_.echoes(0, 3));
}

// Row 13a.
TEST_P(QueueResetTest, OtherValuesAbsentQueuesAndOtherWidthsDoNothing) {
  ASSERT_TRUE(fixture_.bring_up());
  ASSERT_TRUE(both_echo(1));
  driver().reset_queue(99);
  EXPECT_EQ(faults(), 1U);
  EXPECT_FALSE(driver().queue_in_reset(99));
  (void)driver().queue_enabled(0);  // selects it
  if (fixture_.pci) {
    fixture_.pci->set_common(kCommonQueueReset, 0, 2);
    fixture_.pci->set_common(kCommonQueueReset, 3, 2);
    fixture_.pci->set_common(kCommonQueueReset, 1, 1);
    fixture_.pci->set_common(kCommonQueueReset, 1, 4);
    EXPECT_EQ(faults(), 5U);
  } else {
    fixture_.mmio_driver->set_reg(kMmioQueueReset, 0);
    fixture_.mmio_driver->set_reg(kMmioQueueReset, 3);
    EXPECT_EQ(faults(), 3U);
  }
  EXPECT_TRUE(driver().queue_enabled(0));
  EXPECT_TRUE(both_echo(3));
}

// Row 13a.
TEST_P(QueueResetTest, AQueueThatTheDeviceWasNotStartedWithStaysOff) {
  if (fixture_.pci) {
    ASSERT_TRUE(fixture_.pci->probe());
  }
  auto configs = fixture_.configs();
  configs.pop_back();
  ASSERT_TRUE(driver().bring_up(TransportFixture::features() | kRingReset, configs));
  driver().reset_queue(1);
  EXPECT_EQ(faults(), 0U);
  fixture_.enable_anew(1);
  EXPECT_GT(faults(), 0U);
  EXPECT_FALSE(driver().queue_enabled(1));
  EXPECT_FALSE(fixture_.life->running(1));
  EXPECT_TRUE(fixture_.echoes(0, 1));
  EXPECT_TRUE(fixture_.works_after_reset());
}

TEST_P(QueueResetTest, BeforeDriverOkItIsConfiguredAnew) {
  if (fixture_.pci) {
    ASSERT_TRUE(fixture_.pci->probe());
  }
  ASSERT_TRUE(driver().negotiate(TransportFixture::features() | kRingReset));
  fixture_.enable_anew(0);
  fixture_.enable_anew(1);
  driver().reset_queue(0);
  EXPECT_FALSE(driver().queue_enabled(0));
  EXPECT_TRUE(driver().queue_enabled(1));
  fixture_.lay_out_ring_anew(0, kOtherSize);
  fixture_.enable_anew(0);
  driver().set_status(kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk | kStatusDriverOk);
  EXPECT_TRUE(both_echo(1));
  EXPECT_EQ(faults(), 0U);
}

TEST_P(QueueResetTest, RegistersOfAQueueThatRunsAgainStayAsTheyAre) {
  ASSERT_TRUE(fixture_.bring_up());
  reset(0);
  fixture_.enable_anew(0);
  const std::uint64_t before = faults();
  QueueConfig other = fixture_.rings[0].config();
  other.desc = GuestAddress(0x300000);
  driver().write_queue(0, other);
  driver().enable_queue(0);
  EXPECT_GT(faults(), before);
  EXPECT_EQ(fixture_.life->queue(0).desc, fixture_.rings[0].config().desc);
  EXPECT_TRUE(both_echo(1));
}

TEST_P(QueueResetTest, AResetOfTheDeviceForgetsIt) {
  ASSERT_TRUE(fixture_.bring_up());
  reset(0);
  driver().set_status(0);
  // Not negotiated this time: what was reset before is in use again, and stays so.
  ASSERT_TRUE(driver().bring_up(TransportFixture::features(), fixture_.configs()));
  const std::uint64_t before = faults();
  fixture_.enable_anew(0);
  EXPECT_GT(faults(), before);
  EXPECT_TRUE(both_echo(1));
}

// Row 17: at any moment, while others kick, the way of notification changes and the machine is
// paused. The queue that is left alone loses nothing.
TEST_P(QueueResetTest, AtAnyMomentNothingOfTheOthersIsLost) {
  ASSERT_TRUE(fixture_.bring_up());
  std::atomic<bool> over{false};
  std::mutex vcpus_run;  // a pause is for vCPUs that stand still
  std::thread storm([&] {
    while (!over) {
      fixture_.life->notify(0);
      const std::lock_guard<std::mutex> hold(vcpus_run);
      driver().kick(0);
    }
  });
  std::thread resets([&] {
    for (unsigned i = 0; i < 150; ++i) {
      {
        const std::lock_guard<std::mutex> hold(vcpus_run);
        reset(0, i % 2 == 0 ? 4 : 32);
        // One at a time, for both would have the same buffer: before it is enabled, or after.
        if (i % 3 == 0) offer_and_kick(0, 1);
        fixture_.enable_anew(0);
        if (i % 5 == 0 && i % 3 != 0) offer_and_kick(0, 2);
      }
      if (i % 10 != 0) continue;
      const std::lock_guard<std::mutex> hold(vcpus_run);
      fixture_.life->pause();
      fixture_.life->resume();
    }
    over = true;
  });
  std::optional<testing::ModeChanger> changer;
  if (mode() == NotifyMode::kAdaptive) changer.emplace(*fixture_.life);
  unsigned asked = 0;
  bool lost = false;
  while (!over && !lost) {
    // By the ring and its doorbell alone: the selector is the other vCPU's.
    fixture_.add(1, static_cast<std::uint8_t>(asked));
    (void)fixture_.rings[1].offer();
    driver().kick(1);
    lost = !fixture_.reap(1) || fixture_.answer(1) != static_cast<std::uint8_t>(asked);
    ++asked;
  }
  resets.join();
  storm.join();
  changer.reset();
  EXPECT_FALSE(lost);
  reset(0);
  fixture_.enable_anew(0);
  EXPECT_TRUE(both_echo(1));
  EXPECT_EQ(driver().status() & kStatusNeedsReset, 0);
  EXPECT_EQ(fixture_.life->counters(1).bad_chains.get(), 0U);
}

INSTANTIATE_TEST_SUITE_P(
    Transports, QueueResetTest,
    ::testing::Combine(::testing::Values(Kind::kPci, Kind::kPciTransitional, Kind::kMmio),
                       ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync,
                                         NotifyMode::kPoll, NotifyMode::kAdaptive)),
    [](const auto& one) {
      const Kind kind = std::get<0>(one.param);
      return std::string(kind == Kind::kMmio  ? "mmio_"
                         : kind == Kind::kPci ? "pci_"
                                              : "transitional_") +
             to_string(std::get<1>(one.param));
    });

}  // namespace
}  // namespace bellhop
