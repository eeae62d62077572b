// Long streams of numbered frames both ways at once: none lost, none doubled, none out of order,
// whatever is done to the device meanwhile.

#include <gtest/gtest.h>

#include <cstring>

#include "testing/allocation_counter.h"
#include "testing/net_bench.h"

namespace bellhop {
namespace {

using testing::kManyFrames;
using testing::NetBench;

constexpr std::uint32_t kBufferBytes = 512;
constexpr std::size_t kMostBytes = 320;

class NetStreamTest : public ::testing::TestWithParam<NotifyMode> {
 protected:
  /// Frame number `number` of a flow: its length and its bytes follow from the number.
  static std::span<const std::byte> make(std::uint64_t number, std::span<std::byte> space) {
    const std::size_t bytes = kNetHeaderBytes + 60 + number * 7 % 240;
    std::memset(space.data(), static_cast<int>(number & 0xff), bytes);
    std::memset(space.data(), 0, kNetHeaderBytes);
    store_mac(NetBench::kMac, space.data() + kNetHeaderBytes);
    std::memcpy(space.data() + kNetHeaderBytes + 14, &number, sizeof number);
    return space.first(bytes);
  }
  /// Its number, if it is whole.
  static std::uint64_t number_of(std::span<const std::byte> frame) {
    std::uint64_t number = 0;
    if (frame.size() < kNetHeaderBytes + 60) return UINT64_MAX;
    std::memcpy(&number, frame.data() + kNetHeaderBytes + 14, sizeof number);
    std::array<std::byte, kNetHeaderBytes + kMostBytes> space{};
    const auto right = make(number, space);
    return NetBench::same_frame(frame, right) ? number : UINT64_MAX;
  }

  void put_some(std::uint64_t most) {
    while (put_ < most && bench.nic->put(make(put_, space_))) ++put_;
  }
  void give_buffers() {
    while (true) {
      const unsigned slot = free_rx_ % NetBench::kSize;
      const auto head = bench.driver(0).add({{NetBench::slot(0, slot), kBufferBytes, true}});
      if (!head) break;
      rx_slot_[*head] = slot;
      ++free_rx_;
    }
    bench.offer(0);
  }
  void take_received() {
    while (const auto used = bench.driver(0).reap()) {
      const auto got = std::span(space_).first(used->length);
      ASSERT_TRUE(bench.memory.read(NetBench::slot(0, rx_slot_[used->id]), got));
      const std::uint64_t number = number_of(got);
      ASSERT_NE(number, UINT64_MAX) << "a damaged frame after " << received_;
      ASSERT_GE(number, next_rx_) << "out of order, or twice";
      skipped_rx_ += number - next_rx_;
      next_rx_ = number + 1;
      ++received_;
    }
    (void)bench.driver(0).enable_interrupts();
  }
  void send_some(std::uint64_t most) {
    while (reaped()) {
    }
    while (offered_ < most && tx_waiting_ < NetBench::kSize) {
      const auto frame = make(offered_, space_);
      const GuestAddress at = NetBench::slot(1, static_cast<unsigned>(offered_ % NetBench::kSize));
      ASSERT_TRUE(bench.memory.write(at, frame));
      ASSERT_TRUE(bench.driver(1).add({{at, static_cast<std::uint32_t>(frame.size()), false}}));
      ++offered_;
      ++tx_waiting_;
    }
    bench.offer(1);
  }
  bool reaped() {
    if (!bench.driver(1).reap()) {
      (void)bench.driver(1).enable_interrupts();
      return false;
    }
    ++completed_;
    --tx_waiting_;
    return true;
  }
  void get_some() {
    while (const std::size_t bytes = bench.nic->get(space_)) {
      const std::uint64_t number = number_of(std::span(space_).first(bytes));
      ASSERT_NE(number, UINT64_MAX) << "a damaged frame after " << got_;
      ASSERT_GE(number, next_tx_) << "out of order, or twice";
      skipped_tx_ += number - next_tx_;
      next_tx_ = number + 1;
      ++got_;
    }
  }
  /// A little of everything, until `frames` have been sent both ways in all.
  template <class Meanwhile>
  void run(std::uint64_t frames, Meanwhile meanwhile) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(240);
    for (unsigned round = 1; !done(frames); ++round) {
      put_some(frames);
      give_buffers();
      send_some(frames);
      get_some();
      take_received();
      if (HasFatalFailure()) return;
      meanwhile(round);
      ASSERT_LT(std::chrono::steady_clock::now(), deadline)
          << "put " << put_ << ", received " << received_ << ", offered " << offered_ << ", got "
          << got_;
    }
  }
  [[nodiscard]] bool done(std::uint64_t frames) const {
    const NetTotals totals = bench.device->totals();
    return received_ + totals.rx_dropped_link_down == frames &&
           got_ + totals.tx_dropped_link_down == frames && completed_ == offered_;
  }

  NetBench bench{GetParam()};
  std::array<std::byte, kNetHeaderBytes + kMostBytes> space_{};
  std::array<unsigned, NetBench::kSize> rx_slot_{};
  unsigned free_rx_ = 0;
  std::uint64_t put_ = 0;
  std::uint64_t received_ = 0;
  std::uint64_t next_rx_ = 0;
  std::uint64_t skipped_rx_ = 0;
  std::uint64_t offered_ = 0;
  std::uint64_t completed_ = 0;
  std::uint64_t tx_waiting_ = 0;
  std::uint64_t got_ = 0;
  std::uint64_t next_tx_ = 0;
  std::uint64_t skipped_tx_ = 0;
};

TEST_P(NetStreamTest, AMillionFramesEachWayAndNoAllocation) {
  bench.start();
  run(10'000, [](unsigned) {});
  const std::uint64_t before = allocations.load();
  run(10'000 + kManyFrames, [](unsigned) {});
  // With sync, a vCPU thread tells the I/O thread by a message that it is to wait for the host.
  if (GetParam() == NotifyMode::kIoEventFd) {
    EXPECT_EQ(allocations.load() - before, 0U);
  }
  EXPECT_EQ(received_, 10'000 + kManyFrames);
  EXPECT_EQ(got_, 10'000 + kManyFrames);
  EXPECT_EQ(skipped_rx_ + skipped_tx_, 0U);
  const NetTotals totals = bench.device->totals();
  EXPECT_EQ(totals.rx_frames, received_);
  EXPECT_EQ(totals.tx_frames, got_);
}

TEST_P(NetStreamTest, PausesLoseNothing) {
  bench.start();
  run(kManyFrames / 5, [&](unsigned round) {
    if (round % 8 == 0) bench.pause_and_resume();
  });
  EXPECT_EQ(skipped_rx_ + skipped_tx_, 0U);
}

TEST_P(NetStreamTest, LinkFlapsLoseWhatIsCountedAndNoMore) {
  bench.start();
  run(kManyFrames / 5, [&](unsigned round) {
    if (round % 16 == 0) bench.device->set_link(round % 32 == 0);
  });
  const NetTotals totals = bench.device->totals();
  EXPECT_GT(totals.rx_dropped_link_down + totals.tx_dropped_link_down, 0U);
  EXPECT_LE(skipped_rx_, totals.rx_dropped_link_down);
  EXPECT_LE(skipped_tx_, totals.tx_dropped_link_down);
}

TEST_P(NetStreamTest, ResetsInFlightLoseNoFrameThatWasAccepted) {
  bench.start();
  run(kManyFrames / 50, [&](unsigned round) {
    if (round % 8 != 0) return;
    bench.stop();
    take_received();
    while (reaped()) {
    }
    // What was given back has been sent, and what was not given back has not.
    get_some();
    ASSERT_EQ(completed_, got_);
    offered_ = completed_;
    tx_waiting_ = 0;
    bench.restart(bench.device->traits().features);
  });
  EXPECT_EQ(skipped_rx_ + skipped_tx_, 0U);
}

INSTANTIATE_TEST_SUITE_P(Modes, NetStreamTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync),
                         [](const auto& which) { return to_string(which.param); });

}  // namespace
}  // namespace bellhop
