#include "virtio/ring/in_order_ring.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "testing/ring_fixture.h"
#include "virtio/ring/inflight_region.h"

namespace bellhop {
namespace {

using namespace virtio;
using testing::FakeDriver;
using testing::must;
using testing::RingFixture;

struct InOrderCase {
  RingFeatures features;
  bool tracked = false;
};

class InOrderRingTest : public ::testing::TestWithParam<InOrderCase> {
 protected:
  static constexpr std::uint16_t kSize = 8;
  static constexpr GuestAddress kNotes{0x40000};

  static RingFeatures features() { return GetParam().features; }
  static bool batches() { return !GetParam().tracked; }

  InOrderRingTest() : f_(kSize, features()) { activate({}); }
  /// The ring from where it stands, as after a pause.
  void activate(RingState state) {
    std::optional<InflightQueue> notes;
    if (GetParam().tracked) {
      notes = InflightQueue{
          .bytes = *f_.memory.span(kNotes, inflight_queue_bytes(features().packed, kSize)),
          .entries = kSize};
    }
    f_.queue =
        must(Ring::activate(f_.memory, f_.driver.config(), features(), f_.counters, state, notes));
  }
  /// Offers chains of one buffer with 16 bytes for the device each, and takes them.
  void take(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      heads_[i] = f_.driver.add({{RingFixture::kData, 16, true}}).value();
    }
    (void)f_.driver.offer();
    for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(f_.queue.pop(chains_[i]), Pop::kChain);
  }
  void expect_used(std::size_t which, std::uint32_t length) {
    const auto used = f_.driver.reap();
    ASSERT_TRUE(used.has_value());
    EXPECT_EQ(used->id, heads_[which]);
    EXPECT_EQ(used->length, length);
  }
  [[nodiscard]] UsedElem used_entry(unsigned slot) const {
    UsedElem elem{};
    const GuestAddress at(f_.driver.config().device.value() + kUsedRingOffset + slot * sizeof elem);
    EXPECT_TRUE(f_.memory.read(at, std::as_writable_bytes(std::span(&elem, 1))));
    return elem;
  }

  RingFixture f_;
  std::array<DescriptorChain, kSize> chains_;
  std::array<std::uint16_t, kSize> heads_{};
};

TEST_P(InOrderRingTest, WhatIsDoneTooEarlyWaits) {
  take(3);
  f_.queue.complete(chains_[2], 16);
  f_.queue.complete(chains_[1], 16);
  EXPECT_FALSE(f_.queue.publish());
  EXPECT_EQ(f_.driver.used_idx(), 0U);
  EXPECT_EQ(f_.queue.in_flight(), 3U) << "the driver has not got them back";
  EXPECT_EQ(f_.counters.completions.get(), 0U);
  f_.queue.complete(chains_[0], 16);
  EXPECT_TRUE(f_.queue.publish());
  EXPECT_EQ(f_.driver.used_idx(), 3U);
  EXPECT_EQ(f_.queue.in_flight(), 0U);
  for (std::size_t i = 0; i < 3; ++i) expect_used(i, 16);
  EXPECT_FALSE(f_.driver.reap().has_value());
}

TEST_P(InOrderRingTest, ABatchIsOneEntryInTheFirstPlace) {
  take(3);
  for (const std::size_t which : {1U, 0U, 2U}) f_.queue.complete(chains_[which], 16);
  (void)f_.queue.publish();
  if (features().packed) {
    const PackedDesc first = f_.driver.packed_desc(0);
    EXPECT_TRUE(packed_is_used(first.flags, true));
    EXPECT_EQ(first.id, heads_[batches() ? 2 : 0]);
    EXPECT_EQ(packed_is_used(f_.driver.packed_desc(1).flags, true), !batches());
    EXPECT_EQ(packed_is_used(f_.driver.packed_desc(2).flags, true), !batches());
  } else {
    EXPECT_EQ(used_entry(0).id, heads_[batches() ? 2 : 0]);
    EXPECT_EQ(used_entry(0).len, 16U);
    EXPECT_EQ(used_entry(1).len, batches() ? 0U : 16U) << "not written";
  }
  EXPECT_EQ(f_.driver.used_idx(), 3U);
  for (std::size_t i = 0; i < 3; ++i) expect_used(i, 16);
  // The next batch begins behind it.
  take(2);
  for (const std::size_t which : {1U, 0U}) f_.queue.complete(chains_[which], 16);
  (void)f_.queue.publish();
  if (!features().packed) {
    EXPECT_EQ(used_entry(3).id, heads_[batches() ? 1 : 0]);
  }
  for (std::size_t i = 0; i < 2; ++i) expect_used(i, 16);
}

TEST_P(InOrderRingTest, WhatIsNotWrittenToCompletelyEndsABatch) {
  take(5);
  constexpr std::array<std::uint32_t, 5> kWritten{16, 7, 16, 0, 3};
  for (const std::size_t which : {4U, 3U, 2U, 1U, 0U}) {
    f_.queue.complete(chains_[which], kWritten[which]);
  }
  (void)f_.queue.publish();
  for (std::size_t i = 0; i < 5; ++i) expect_used(i, kWritten[i]);
}

TEST_P(InOrderRingTest, WhatTheDriverHasSeenIsNotWrittenAgain) {
  take(4);
  f_.queue.complete(chains_[0], 16);
  (void)f_.queue.publish();
  f_.queue.complete(chains_[1], 16);
  f_.queue.complete(chains_[2], 16);
  (void)f_.queue.publish();
  f_.queue.complete(chains_[3], 16);
  EXPECT_EQ(f_.driver.used_idx(), 3U);
  for (std::size_t i = 0; i < 3; ++i) expect_used(i, 16);
  EXPECT_FALSE(f_.driver.reap().has_value());
  (void)f_.queue.publish();
  expect_used(3, 16);
}

// Nobody knows what the driver of such a chain takes for all of it.
TEST_P(InOrderRingTest, AMalformedChainEndsABatchAndKeepsItsTurn) {
  take(1);
  heads_[1] = f_.driver.add({{GuestAddress(0x7fff'0000'0000), 16, true}}).value();
  heads_[2] = f_.driver.add({{RingFixture::kData, 16, true}}).value();
  (void)f_.driver.offer();
  ASSERT_EQ(f_.queue.pop(chains_[1]), Pop::kMalformed);
  f_.queue.complete(chains_[1], 0);
  ASSERT_EQ(f_.queue.pop(chains_[2]), Pop::kChain);
  f_.queue.complete(chains_[2], 16);
  EXPECT_FALSE(f_.queue.publish()) << "its turn has not come";
  f_.queue.complete(chains_[0], 16);
  (void)f_.queue.publish();
  expect_used(0, 16);
  expect_used(1, 0);
  expect_used(2, 16);
}

// Any order of completion, rewinds, batches of any length, stops: past the wrap of every index.
TEST_P(InOrderRingTest, ComesBackInOrderWhateverHappens) {
  struct Chain {
    std::uint16_t head;
    std::uint32_t written;
  };
  std::mt19937 random(7);
  const auto below = [&](std::size_t count) { return static_cast<std::size_t>(random() % count); };
  std::vector<std::unique_ptr<DescriptorChain>> taken;
  std::deque<Chain> offered;  // not reaped yet
  unsigned reaped = 0;
  for (unsigned step = 0; reaped < 70'000; ++step) {
    switch (below(8)) {
      case 0:
      case 1: {
        const auto length = static_cast<std::uint32_t>(1 + below(32));
        const std::array<FakeDriver::Buffer, 3> buffers{{{RingFixture::kData, 16, false},
                                                         {RingFixture::kData, 32, false},
                                                         {RingFixture::kData, length, true}}};
        const auto head = f_.driver.add(std::span(buffers).last(1 + below(3)));
        if (head) offered.push_back({*head, below(3) == 0 ? length / 2 : length});
        (void)f_.driver.offer();
        break;
      }
      case 2:
      case 3: {
        auto chain = std::make_unique<DescriptorChain>();
        if (f_.queue.pop(*chain) == Pop::kChain) taken.push_back(std::move(chain));
        break;
      }
      case 4:
        // The one that was taken last is the last of `taken`, unless it has been completed.
        if (!taken.empty() && f_.queue.rewind(*taken.back())) taken.pop_back();
        break;
      case 5:
      case 6: {
        if (taken.empty()) break;
        const std::size_t which = below(taken.size());
        const auto one = std::ranges::find(offered, taken[which]->head(), &Chain::head);
        ASSERT_NE(one, offered.end());
        f_.queue.complete(*taken[which], one->written);
        taken.erase(taken.begin() + static_cast<std::ptrdiff_t>(which));
        break;
      }
      default:
        (void)f_.queue.publish();
        while (const auto used = f_.driver.reap()) {
          ASSERT_FALSE(offered.empty());
          ASSERT_EQ(used->id, offered.front().head) << "step " << step;
          ASSERT_EQ(used->length, offered.front().written) << "step " << step;
          offered.pop_front();
          ++reaped;
        }
        if (taken.empty() && below(8) == 0) activate(f_.queue.state());
        break;
    }
  }
  for (auto& chain : taken) f_.queue.complete(*chain, 0);
  EXPECT_EQ(f_.queue.in_flight(), 0U);
  EXPECT_FALSE(f_.queue.broken());
}

std::vector<InOrderCase> all_cases() {
  std::vector<InOrderCase> cases;
  for (unsigned bits = 0; bits < 16; ++bits) {
    cases.push_back({{.indirect = (bits & 1) != 0,
                      .event_idx = (bits & 2) != 0,
                      .packed = (bits & 4) != 0,
                      .in_order = true},
                     (bits & 8) != 0});
  }
  return cases;
}
INSTANTIATE_TEST_SUITE_P(Rings, InOrderRingTest, ::testing::ValuesIn(all_cases()),
                         [](const auto& which) {
                           return testing::ring_name(which.param.features) +
                                  (which.param.tracked ? "_tracked" : "");
                         });

}  // namespace
}  // namespace bellhop
