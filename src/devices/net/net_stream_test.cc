// Long streams of numbered frames both ways at once: none lost, none doubled, none out of order,
// whatever is done to the device meanwhile.

#include <gtest/gtest.h>

#include <cstring>

#include "testing/allocation_counter.h"
#include "testing/net_fixture.h"

namespace bellhop {
namespace {

using testing::kManyFrames;
using testing::NetFixture;

constexpr std::uint32_t kBufferBytes = 512;
constexpr std::size_t kMaxBytes = 320;

class NetStreamTest : public ::testing::TestWithParam<NotifyMode> {
 protected:
  /// Frame number `number` of a flow: its length and its bytes follow from the number.
  static std::span<const std::byte> make(std::uint64_t number, std::span<std::byte> space) {
    const std::size_t bytes = kNetHeaderBytes + 60 + number * 7 % 240;
    std::memset(space.data(), static_cast<int>(number & 0xff), bytes);
    std::memset(space.data(), 0, kNetHeaderBytes);
    store_mac(NetFixture::kMac, space.data() + kNetHeaderBytes);
    std::memcpy(space.data() + kNetHeaderBytes + 14, &number, sizeof number);
    return space.first(bytes);
  }
  /// Its number, if it is whole.
  static std::uint64_t number_of(std::span<const std::byte> frame) {
    std::uint64_t number = 0;
    if (frame.size() < kNetHeaderBytes + 60) return UINT64_MAX;
    std::memcpy(&number, frame.data() + kNetHeaderBytes + 14, sizeof number);
    std::array<std::byte, kNetHeaderBytes + kMaxBytes> space{};
    const auto right = make(number, space);
    return NetFixture::same_frame(frame, right) ? number : UINT64_MAX;
  }

  void put_some(std::uint64_t most) {
    while (put_ < most && fixture.nic->put(make(put_, space_))) ++put_;
  }
  void give_buffers() {
    while (true) {
      const unsigned slot = free_rx_ % NetFixture::kSize;
      const auto head = fixture.driver(0).add({{NetFixture::slot(0, slot), kBufferBytes, true}});
      if (!head) break;
      rx_slot_[*head] = slot;
      ++free_rx_;
    }
    fixture.offer(0);
  }
  void take_received() {
    while (const auto used = fixture.driver(0).reap()) {
      const auto got = std::span(space_).first(used->length);
      ASSERT_TRUE(fixture.memory.read(NetFixture::slot(0, rx_slot_[used->id]), got));
      const std::uint64_t number = number_of(got);
      ASSERT_NE(number, UINT64_MAX) << "a damaged frame after " << received_;
      ASSERT_GE(number, next_rx_) << "out of order, or twice";
      skipped_rx_ += number - next_rx_;
      next_rx_ = number + 1;
      ++received_;
    }
    (void)fixture.driver(0).enable_interrupts();
  }
  void send_some(std::uint64_t most) {
    while (reaped()) {
    }
    while (offered_ < most && tx_waiting_ < NetFixture::kSize) {
      const auto frame = make(offered_, space_);
      const GuestAddress at =
          NetFixture::slot(1, static_cast<unsigned>(offered_ % NetFixture::kSize));
      ASSERT_TRUE(fixture.memory.write(at, frame));
      ASSERT_TRUE(fixture.driver(1).add({{at, static_cast<std::uint32_t>(frame.size()), false}}));
      ++offered_;
      ++tx_waiting_;
    }
    fixture.offer(1);
  }
  bool reaped() {
    if (!fixture.driver(1).reap()) {
      (void)fixture.driver(1).enable_interrupts();
      return false;
    }
    ++completed_;
    --tx_waiting_;
    return true;
  }
  void get_some() {
    while (const std::size_t bytes = fixture.nic->get(space_)) {
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
    const NetTotals totals = fixture.device->totals();
    return received_ + totals.rx_dropped_link_down == frames &&
           got_ + totals.tx_dropped_link_down == frames && completed_ == offered_;
  }

  NetFixture fixture{GetParam()};
  std::array<std::byte, kNetHeaderBytes + kMaxBytes> space_{};
  std::array<unsigned, NetFixture::kSize> rx_slot_{};
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

TEST_P(NetStreamTest, ManyFramesEachWayAndNoAllocation) {
  fixture.start();
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
  const NetTotals totals = fixture.device->totals();
  EXPECT_EQ(totals.rx_frames, received_);
  EXPECT_EQ(totals.tx_frames, got_);
}

TEST_P(NetStreamTest, PausesLoseNothing) {
  fixture.start();
  run(kManyFrames / 5, [&](unsigned round) {
    if (round % 8 == 0) fixture.pause_and_resume();
  });
  EXPECT_EQ(skipped_rx_ + skipped_tx_, 0U);
}

TEST_P(NetStreamTest, LinkFlapsLoseWhatIsCountedAndNoMore) {
  fixture.start();
  run(kManyFrames / 5, [&](unsigned round) {
    if (round % 16 == 0) fixture.device->set_link(round % 32 == 0);
  });
  const NetTotals totals = fixture.device->totals();
  EXPECT_GT(totals.rx_dropped_link_down + totals.tx_dropped_link_down, 0U);
  EXPECT_LE(skipped_rx_, totals.rx_dropped_link_down);
  EXPECT_LE(skipped_tx_, totals.tx_dropped_link_down);
}

TEST_P(NetStreamTest, ResetsInFlightLoseNoFrameThatWasAccepted) {
  fixture.start();
  run(kManyFrames / 50, [&](unsigned round) {
    if (round % 8 != 0) return;
    fixture.stop();
    take_received();
    while (reaped()) {
    }
    // What was given back has been sent, and what was not given back has not.
    get_some();
    ASSERT_EQ(completed_, got_);
    offered_ = completed_;
    tx_waiting_ = 0;
    fixture.restart(fixture.device->traits().features);
  });
  EXPECT_EQ(skipped_rx_ + skipped_tx_, 0U);
}

INSTANTIATE_TEST_SUITE_P(Modes, NetStreamTest,
                         ::testing::Values(NotifyMode::kIoEventFd, NotifyMode::kSync),
                         [](const auto& which) { return to_string(which.param); });

}  // namespace
}  // namespace bellhop
