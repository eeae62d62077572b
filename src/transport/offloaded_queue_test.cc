#include <gtest/gtest.h>

#include <thread>

#include "testing/eventually.h"
#include "testing/transport_fixture.h"
#include "virtio/abi/config.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::eventually;
using testing::TransportFixture;

/// A device whose queues are served outside of its process, by the kernel for example.
class OffloadedQueueTest : public ::testing::TestWithParam<TransportFixture::Kind> {
 protected:
  void SetUp() override { fixture_.echo->wants = Server::kKernel; }
  [[nodiscard]] bool mmio() const { return GetParam() == TransportFixture::Kind::kMmio; }
  /// One request there and back, and the interrupt for it, which nobody here sends.
  [[nodiscard]] bool works(std::uint16_t queue, std::uint8_t value) {
    return fixture_.echoes(queue, value) && eventually([&] { return fixture_.interrupted(queue); });
  }
  [[nodiscard]] bool both_work(std::uint8_t value) { return works(0, value) && works(1, value); }

  TransportFixture fixture_{GetParam()};
};

TEST_P(OffloadedQueueTest, KicksAndInterruptsGoPastUs) {
  ASSERT_TRUE(fixture_.bring_up());
  EXPECT_EQ(fixture_.echo->offloaded(), 2U);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(both_work(static_cast<std::uint8_t>(i)));
  for (unsigned queue = 0; queue < TransportFixture::kQueues; ++queue) {
    EXPECT_EQ(fixture_.life->server(queue), Server::kKernel);
    const QueueCounters& counters = fixture_.life->counters(queue);
    EXPECT_EQ(counters.kicks.get(), 0U);
    EXPECT_EQ(counters.chains.get(), 0U);
    EXPECT_EQ(counters.interrupts.get(), 0U);
  }
  EXPECT_EQ(fixture_.vm.ioeventfds().size(), TransportFixture::kQueues);
  EXPECT_EQ(fixture_.life->guest_faults(), 0U);
}

TEST_P(OffloadedQueueTest, ComesBackFromAReset) {
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(fixture_.bring_up());
    ASSERT_TRUE(both_work(static_cast<std::uint8_t>(i)));
    fixture_.driver->set_status(0);
    EXPECT_EQ(fixture_.echo->offloaded(), 0U);
    EXPECT_TRUE(fixture_.vm.ioeventfds().empty());
  }
  EXPECT_EQ(fixture_.binder.bad_detaches(), 0U);
}

// The ring goes on where it was, and what was offered meanwhile is served.
TEST_P(OffloadedQueueTest, PausesAndResumesWithNothingLost) {
  ASSERT_TRUE(fixture_.bring_up());
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(both_work(static_cast<std::uint8_t>(i)));
    fixture_.life->pause();
    EXPECT_EQ(fixture_.echo->offloaded(), 0U);
    fixture_.add(0, 0xaa);
    if (fixture_.rings[0].offer()) fixture_.driver->kick(0);
    std::this_thread::yield();
    EXPECT_FALSE(fixture_.rings[0].reap().has_value());
    fixture_.life->resume();
    EXPECT_EQ(fixture_.echo->offloaded(), 2U);
    EXPECT_TRUE(fixture_.reap(0));
    EXPECT_EQ(fixture_.answer(0), 0xaaU);
    (void)fixture_.interrupted(0);
  }
}

TEST_P(OffloadedQueueTest, AQueueThatIsTakenBackSaysHowFarItHasCome) {
  ASSERT_TRUE(fixture_.bring_up());
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(works(0, static_cast<std::uint8_t>(i)));
  const auto state = fixture_.life->quiesce_queue(0);
  ASSERT_TRUE(state);
  EXPECT_EQ(state->next_avail, 5U);
  EXPECT_EQ(state->next_used, 5U);
  ASSERT_TRUE(fixture_.life->resume_queue(0, *state));
  EXPECT_TRUE(both_work(6));
}

// VIRTIO_F_RING_RESET: the server needs to know nothing of it.
TEST_P(OffloadedQueueTest, OneQueueIsResetAndTheOtherGoesOn) {
  TransportFixture fixture(GetParam(), NotifyMode::kIoEventFd, feature_mask(kFeatureRingReset));
  fixture.echo->wants = Server::kKernel;
  ASSERT_TRUE(fixture.bring_up());
  for (std::uint8_t i = 0; i < 5; ++i) {
    ASSERT_TRUE(fixture.echoes(0, i));
    fixture.driver->reset_queue(0);
    EXPECT_EQ(fixture.echo->offloaded(), 1U);
    EXPECT_EQ(fixture.vm.ioeventfds().size(), 1U);
    ASSERT_TRUE(fixture.echoes(1, i));
    fixture.lay_out_ring_anew(0, i % 2 == 0 ? 8 : 32);
    fixture.enable_anew(0);
    EXPECT_EQ(fixture.echo->offloaded(), 2U);
  }
  EXPECT_TRUE(fixture.echoes(0, 0x77));
  EXPECT_EQ(fixture.life->server(0), Server::kKernel);
  EXPECT_EQ(fixture.life->guest_faults(), 0U);
}

TEST_P(OffloadedQueueTest, ADoorbellThatIsRefusedBringsAllOfItToUserSpace) {
  fixture_.vm.set_max_ioeventfds(1);
  ASSERT_TRUE(fixture_.bring_up());
  EXPECT_EQ(fixture_.echo->offloaded(), 0U);
  EXPECT_EQ(fixture_.life->drain(0), Drain::kByIoThread);
  EXPECT_EQ(fixture_.life->drain(1), Drain::kByVcpu);
  EXPECT_TRUE(both_work(7));
  fixture_.vm.set_max_ioeventfds(100);
  ASSERT_TRUE(fixture_.bring_up());
  EXPECT_EQ(fixture_.echo->offloaded(), 2U);
  EXPECT_TRUE(both_work(8));
}

TEST_P(OffloadedQueueTest, AKernelThatRefusesTheSecondQueueGetsNone) {
  fixture_.echo->refuse_offload = true;
  ASSERT_TRUE(fixture_.bring_up());
  EXPECT_EQ(fixture_.echo->offloaded(), 0U);
  EXPECT_EQ(fixture_.vm.ioeventfds().size(), TransportFixture::kQueues);
  EXPECT_TRUE(both_work(7));
  EXPECT_EQ(fixture_.driver->status() & kStatusNeedsReset, 0);
}

TEST_P(OffloadedQueueTest, WhatMustBeOffloadedDoesNotStartWithoutThat) {
  fixture_.echo->required = true;
  fixture_.echo->refuse_offload = true;
  (void)fixture_.bring_up();
  EXPECT_NE(fixture_.driver->status() & kStatusNeedsReset, 0);
  EXPECT_EQ(fixture_.echo->offloaded(), 0U);
  EXPECT_TRUE(fixture_.vm.ioeventfds().empty());
  fixture_.echo->refuse_offload = false;
  fixture_.vm.set_max_ioeventfds(1);
  (void)fixture_.bring_up();
  EXPECT_NE(fixture_.driver->status() & kStatusNeedsReset, 0);
  EXPECT_TRUE(fixture_.vm.ioeventfds().empty());
  fixture_.vm.set_max_ioeventfds(100);
  ASSERT_TRUE(fixture_.bring_up());
  EXPECT_TRUE(both_work(8));
}

// Row 1 of the bad inputs: the kernel says so by an event.
TEST_P(OffloadedQueueTest, ABrokenRingNeedsAReset) {
  ASSERT_TRUE(fixture_.bring_up());
  ASSERT_TRUE(both_work(1));
  fixture_.rings[0].set_avail_idx(0x4000);
  fixture_.driver->kick(0);
  EXPECT_TRUE(eventually([&] { return (fixture_.driver->status() & kStatusNeedsReset) != 0; }));
  EXPECT_EQ(fixture_.life->counters(0).broken.get(), 1U);
  EXPECT_TRUE(works(1, 2));
  ASSERT_TRUE(fixture_.bring_up());
  EXPECT_TRUE(both_work(3));
}

// Rows 10 and 16: never shown to the kernel.
TEST_P(OffloadedQueueTest, ImpossibleQueuesAndUntimelyKicksStayHere) {
  auto configs = fixture_.configs();
  configs[1].device = GuestAddress(0x7fff'ffff'0000);
  if (fixture_.pci) {
    ASSERT_TRUE(fixture_.pci->probe());
  }
  (void)fixture_.driver->bring_up(TransportFixture::features(), configs);
  EXPECT_NE(fixture_.driver->status() & kStatusNeedsReset, 0);
  EXPECT_EQ(fixture_.echo->offloaded(), 0U);
  fixture_.driver->kick(0);
  fixture_.driver->set_status(0);
  fixture_.driver->kick(0);
  ASSERT_TRUE(fixture_.bring_up());
  EXPECT_TRUE(both_work(4));
}

// Row 17.
TEST_P(OffloadedQueueTest, SurvivesKickStormsDuringResets) {
  std::atomic<bool> stop{false};
  ASSERT_TRUE(fixture_.bring_up());
  std::thread storm([&] {
    while (!stop) {
      fixture_.life->notify(0);
      fixture_.life->notify(1);
      fixture_.life->notify(99);
    }
  });
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(fixture_.bring_up());
    fixture_.life->pause();
    fixture_.life->resume();
    ASSERT_TRUE(fixture_.echoes(1, static_cast<std::uint8_t>(i)));
  }
  stop = true;
  storm.join();
}

TEST_P(OffloadedQueueTest, TheInterruptStatusAssumesWhatItCannotSee) {
  if (!mmio()) return;
  constexpr std::uint64_t kStatus = TransportFixture::kMmioBase + 0x060;
  EXPECT_EQ(fixture_.port.load(kStatus, 4), 0U);
  ASSERT_TRUE(fixture_.bring_up());
  EXPECT_EQ(fixture_.port.load(kStatus, 4), kInterruptUsedBuffer);
  fixture_.port.store(TransportFixture::kMmioBase + 0x064, 3, 4);
  EXPECT_EQ(fixture_.port.load(kStatus, 4), kInterruptUsedBuffer);
  fixture_.driver->set_status(0);
  EXPECT_EQ(fixture_.port.load(kStatus, 4), 0U);
}

// Row 20: pending bits polled while masked, vector changed while live.
TEST_P(OffloadedQueueTest, KeepsWhatIsMaskedPending) {
  if (mmio()) return;
  ASSERT_TRUE(fixture_.bring_up());
  fixture_.pci->mask_vector(1, true);
  ASSERT_TRUE(fixture_.echoes(0, 1));
  EXPECT_TRUE(eventually([&] { return fixture_.pci->pending_bits() == 2; }));
  EXPECT_FALSE(fixture_.interrupted(0));
  fixture_.pci->mask_vector(1, false);
  EXPECT_TRUE(eventually([&] { return fixture_.interrupted(0); }));
  EXPECT_EQ(fixture_.pci->pending_bits(), 0U);
  EXPECT_TRUE(works(0, 2));
}

TEST_P(OffloadedQueueTest, AQueueChangesItsVectorWhileLive) {
  if (mmio()) return;
  ASSERT_TRUE(fixture_.bring_up());
  ASSERT_TRUE(works(0, 1));
  fixture_.pci->set_common(kCommonQueueSelect, 0, 2);
  fixture_.pci->set_common(kCommonQueueMsixVector, 2, 2);
  ASSERT_TRUE(fixture_.echoes(0, 2));
  EXPECT_TRUE(eventually([&] { return fixture_.interrupted(1); }));
  EXPECT_FALSE(fixture_.interrupted(0));
  fixture_.pci->set_common(kCommonQueueSelect, 0, 2);
  fixture_.pci->set_common(kCommonQueueMsixVector, kMsiNoVector, 2);
  ASSERT_TRUE(fixture_.echoes(0, 3));
  EXPECT_FALSE(fixture_.interrupted(1));
  fixture_.pci->set_common(kCommonQueueMsixVector, 1, 2);
  EXPECT_TRUE(works(0, 4));
}

// Row 18.
TEST_P(OffloadedQueueTest, RestsWithoutBusMasteringAndMovesItsBar) {
  if (mmio()) return;
  ASSERT_TRUE(fixture_.bring_up());
  ASSERT_TRUE(both_work(1));
  fixture_.pci->set_command(kPciCommandMemory);
  EXPECT_EQ(fixture_.echo->offloaded(), 0U);
  fixture_.add(0, 2);
  if (fixture_.rings[0].offer()) fixture_.driver->kick(0);
  fixture_.pci->set_command(kPciCommandMemory | kPciCommandBusMaster);
  EXPECT_TRUE(fixture_.reap(0));
  EXPECT_EQ(fixture_.answer(0), 2);
  fixture_.pci->move_bar(fixture_.pci->bar() + 0x10'0000);
  EXPECT_TRUE(both_work(3));
  // No doorbell at the new place: kicks come as exits, and are passed on.
  fixture_.vm.set_max_ioeventfds(0);
  fixture_.pci->move_bar(fixture_.pci->bar() - 0x10'0000);
  EXPECT_TRUE(both_work(4));
  EXPECT_EQ(fixture_.echo->offloaded(), 2U);
}

INSTANTIATE_TEST_SUITE_P(Transports, OffloadedQueueTest,
                         ::testing::Values(TransportFixture::Kind::kPci,
                                           TransportFixture::Kind::kMmio),
                         [](const auto& which) {
                           return which.param == TransportFixture::Kind::kPci ? "pci" : "mmio";
                         });

}  // namespace
}  // namespace bellhop
