#include <gtest/gtest.h>

#include <thread>

#include "testing/transport_bench.h"
#include "virtio/abi/config.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::TransportBench;

/// A device whose queues somebody outside of its process serves: the kernel, in real life.
class CarriedQueueTest : public ::testing::TestWithParam<TransportBench::Kind> {
 protected:
  void SetUp() override { bench_.echo->wants = Carriage::kKernelIfPossible; }
  [[nodiscard]] bool mmio() const { return GetParam() == TransportBench::Kind::kMmio; }
  /// One request there and back, and the interrupt for it, which nobody here sends.
  [[nodiscard]] bool works(std::uint16_t queue, std::uint8_t value) {
    return bench_.echoes(queue, value) &&
           TransportBench::eventually([&] { return bench_.interrupted(queue); });
  }
  [[nodiscard]] bool both_work(std::uint8_t value) { return works(0, value) && works(1, value); }

  TransportBench bench_{GetParam()};
};

TEST_P(CarriedQueueTest, KicksAndInterruptsGoPastUs) {
  ASSERT_TRUE(bench_.bring_up());
  EXPECT_EQ(bench_.echo->carried(), 2U);
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(both_work(static_cast<std::uint8_t>(i)));
  for (unsigned queue = 0; queue < TransportBench::kQueues; ++queue) {
    const QueueRunner& runner = bench_.core->runner(queue);
    EXPECT_EQ(runner.mode(), NotifyMode::kKernel);
    EXPECT_EQ(runner.counters().kicks.get(), 0U);
    EXPECT_EQ(runner.counters().chains.get(), 0U);
    EXPECT_EQ(runner.counters().interrupts.get(), 0U);
  }
  EXPECT_EQ(bench_.vm.ioeventfds().size(), TransportBench::kQueues);
  EXPECT_EQ(bench_.core->guest_faults(), 0U);
}

TEST_P(CarriedQueueTest, ComesBackFromAReset) {
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(bench_.bring_up());
    ASSERT_TRUE(both_work(static_cast<std::uint8_t>(i)));
    bench_.driver->set_status(0);
    EXPECT_EQ(bench_.echo->carried(), 0U);
    EXPECT_TRUE(bench_.vm.ioeventfds().empty());
  }
  EXPECT_EQ(bench_.binder.bad_detaches(), 0U);
}

// The ring goes on where it was, and what was offered meanwhile is served.
TEST_P(CarriedQueueTest, PausesAndResumesWithNothingLost) {
  ASSERT_TRUE(bench_.bring_up());
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(both_work(static_cast<std::uint8_t>(i)));
    bench_.core->pause();
    EXPECT_EQ(bench_.echo->carried(), 0U);
    bench_.add(0, 0xaa);
    if (bench_.rings[0].offer()) bench_.driver->kick(0);
    std::this_thread::yield();
    EXPECT_FALSE(bench_.rings[0].reap().has_value());
    bench_.core->resume();
    EXPECT_EQ(bench_.echo->carried(), 2U);
    EXPECT_TRUE(bench_.reap(0));
    EXPECT_EQ(bench_.answer(0), 0xaaU);
    (void)bench_.interrupted(0);
  }
}

TEST_P(CarriedQueueTest, ADoorbellThatIsRefusedBringsAllOfItToUserSpace) {
  bench_.vm.set_max_ioeventfds(1);
  ASSERT_TRUE(bench_.bring_up());
  EXPECT_EQ(bench_.echo->carried(), 0U);
  EXPECT_EQ(bench_.core->runner(0).mode(), NotifyMode::kIoEventFd);
  EXPECT_EQ(bench_.core->runner(1).mode(), NotifyMode::kSync);
  EXPECT_TRUE(both_work(7));
  bench_.vm.set_max_ioeventfds(100);
  ASSERT_TRUE(bench_.bring_up());
  EXPECT_EQ(bench_.echo->carried(), 2U);
  EXPECT_TRUE(both_work(8));
}

TEST_P(CarriedQueueTest, AKernelThatRefusesTheSecondQueueGetsNone) {
  bench_.echo->refuse_to_carry = true;
  ASSERT_TRUE(bench_.bring_up());
  EXPECT_EQ(bench_.echo->carried(), 0U);
  EXPECT_EQ(bench_.vm.ioeventfds().size(), TransportBench::kQueues);
  EXPECT_TRUE(both_work(7));
  EXPECT_EQ(bench_.driver->status() & kStatusNeedsReset, 0);
}

TEST_P(CarriedQueueTest, WhatMustBeCarriedDoesNotStartWithoutThat) {
  bench_.echo->wants = Carriage::kKernelOnly;
  bench_.echo->refuse_to_carry = true;
  (void)bench_.bring_up();
  EXPECT_NE(bench_.driver->status() & kStatusNeedsReset, 0);
  EXPECT_EQ(bench_.echo->carried(), 0U);
  EXPECT_TRUE(bench_.vm.ioeventfds().empty());
  bench_.echo->refuse_to_carry = false;
  bench_.vm.set_max_ioeventfds(1);
  (void)bench_.bring_up();
  EXPECT_NE(bench_.driver->status() & kStatusNeedsReset, 0);
  EXPECT_TRUE(bench_.vm.ioeventfds().empty());
  bench_.vm.set_max_ioeventfds(100);
  ASSERT_TRUE(bench_.bring_up());
  EXPECT_TRUE(both_work(8));
}

// Row 1 of the bad inputs: the kernel says so by an event.
TEST_P(CarriedQueueTest, ABrokenRingNeedsAReset) {
  ASSERT_TRUE(bench_.bring_up());
  ASSERT_TRUE(both_work(1));
  bench_.rings[0].set_avail_idx(0x4000);
  bench_.driver->kick(0);
  EXPECT_TRUE(TransportBench::eventually(
      [&] { return (bench_.driver->status() & kStatusNeedsReset) != 0; }));
  EXPECT_EQ(bench_.core->runner(0).counters().broken.get(), 1U);
  EXPECT_TRUE(works(1, 2));
  ASSERT_TRUE(bench_.bring_up());
  EXPECT_TRUE(both_work(3));
}

// Rows 10 and 16: never shown to the kernel.
TEST_P(CarriedQueueTest, ImpossibleQueuesAndUntimelyKicksStayHere) {
  auto configs = bench_.configs();
  configs[1].device = GuestAddress(0x7fff'ffff'0000);
  if (bench_.pci) {
    ASSERT_TRUE(bench_.pci->probe());
  }
  (void)bench_.driver->bring_up(TransportBench::kFeatures, configs);
  EXPECT_NE(bench_.driver->status() & kStatusNeedsReset, 0);
  EXPECT_EQ(bench_.echo->carried(), 0U);
  bench_.driver->kick(0);
  bench_.driver->set_status(0);
  bench_.driver->kick(0);
  ASSERT_TRUE(bench_.bring_up());
  EXPECT_TRUE(both_work(4));
}

// Row 17.
TEST_P(CarriedQueueTest, SurvivesKickStormsDuringResets) {
  std::atomic<bool> stop{false};
  ASSERT_TRUE(bench_.bring_up());
  std::thread storm([&] {
    while (!stop) {
      bench_.core->notify(0);
      bench_.core->notify(1);
      bench_.core->notify(99);
    }
  });
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(bench_.bring_up());
    bench_.core->pause();
    bench_.core->resume();
    ASSERT_TRUE(bench_.echoes(1, static_cast<std::uint8_t>(i)));
  }
  stop = true;
  storm.join();
}

TEST_P(CarriedQueueTest, TheInterruptStatusAssumesWhatItCannotSee) {
  if (!mmio()) return;
  constexpr std::uint64_t kStatus = TransportBench::kMmioBase + 0x060;
  EXPECT_EQ(bench_.port.load(kStatus, 4), 0U);
  ASSERT_TRUE(bench_.bring_up());
  EXPECT_EQ(bench_.port.load(kStatus, 4), kInterruptUsedBuffer);
  bench_.port.store(TransportBench::kMmioBase + 0x064, 3, 4);
  EXPECT_EQ(bench_.port.load(kStatus, 4), kInterruptUsedBuffer);
  bench_.driver->set_status(0);
  EXPECT_EQ(bench_.port.load(kStatus, 4), 0U);
}

// Row 20: pending bits polled while masked, vector changed while live.
TEST_P(CarriedQueueTest, KeepsWhatIsMaskedPending) {
  if (mmio()) return;
  ASSERT_TRUE(bench_.bring_up());
  bench_.pci->mask_vector(1, true);
  ASSERT_TRUE(bench_.echoes(0, 1));
  EXPECT_TRUE(TransportBench::eventually([&] { return bench_.pci->pending_bits() == 2; }));
  EXPECT_FALSE(bench_.interrupted(0));
  bench_.pci->mask_vector(1, false);
  EXPECT_TRUE(TransportBench::eventually([&] { return bench_.interrupted(0); }));
  EXPECT_EQ(bench_.pci->pending_bits(), 0U);
  EXPECT_TRUE(works(0, 2));
}

TEST_P(CarriedQueueTest, AQueueChangesItsVectorWhileLive) {
  if (mmio()) return;
  ASSERT_TRUE(bench_.bring_up());
  ASSERT_TRUE(works(0, 1));
  bench_.pci->set_common(kCommonQueueSelect, 0, 2);
  bench_.pci->set_common(kCommonQueueMsixVector, 2, 2);
  ASSERT_TRUE(bench_.echoes(0, 2));
  EXPECT_TRUE(TransportBench::eventually([&] { return bench_.interrupted(1); }));
  EXPECT_FALSE(bench_.interrupted(0));
  bench_.pci->set_common(kCommonQueueSelect, 0, 2);
  bench_.pci->set_common(kCommonQueueMsixVector, kMsiNoVector, 2);
  ASSERT_TRUE(bench_.echoes(0, 3));
  EXPECT_FALSE(bench_.interrupted(1));
  bench_.pci->set_common(kCommonQueueMsixVector, 1, 2);
  EXPECT_TRUE(works(0, 4));
}

// Row 18.
TEST_P(CarriedQueueTest, RestsWithoutBusMasteringAndMovesItsBar) {
  if (mmio()) return;
  ASSERT_TRUE(bench_.bring_up());
  ASSERT_TRUE(both_work(1));
  bench_.pci->set_command(kPciCommandMemory);
  EXPECT_EQ(bench_.echo->carried(), 0U);
  bench_.add(0, 2);
  if (bench_.rings[0].offer()) bench_.driver->kick(0);
  bench_.pci->set_command(kPciCommandMemory | kPciCommandBusMaster);
  EXPECT_TRUE(bench_.reap(0));
  EXPECT_EQ(bench_.answer(0), 2);
  bench_.pci->move_bar(bench_.pci->bar() + 0x10'0000);
  EXPECT_TRUE(both_work(3));
  // No doorbell at the new place: kicks come as exits, and are passed on.
  bench_.vm.set_max_ioeventfds(0);
  bench_.pci->move_bar(bench_.pci->bar() - 0x10'0000);
  EXPECT_TRUE(both_work(4));
  EXPECT_EQ(bench_.echo->carried(), 2U);
}

INSTANTIATE_TEST_SUITE_P(Transports, CarriedQueueTest,
                         ::testing::Values(TransportBench::Kind::kPci, TransportBench::Kind::kMmio),
                         [](const auto& which) {
                           return which.param == TransportBench::Kind::kPci ? "pci" : "mmio";
                         });

}  // namespace
}  // namespace bellhop
