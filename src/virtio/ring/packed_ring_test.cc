#include "virtio/ring/packed_ring.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "testing/ring_fixture.h"

namespace bellhop {
namespace {

using testing::FakeDriver;
using testing::kHighBase;
using testing::make_memory;
using testing::must;
using namespace virtio;

constexpr std::uint64_t kBuffer = testing::RingFixture::kData.value();
constexpr std::uint64_t kPackedTable = kBuffer + 0x1000;
/// What shows a descriptor in the first round.
constexpr std::uint16_t kShown = packed_avail_flags(true);

struct PackedFixture : testing::RingFixture {
  explicit PackedFixture(std::uint16_t size = 8, RingFeatures features = {})
      : RingFixture(size, {features.indirect, features.event_idx, true}) {}

  void put(std::uint16_t index, const PackedDesc& desc) { driver.set_packed_desc(index, desc); }
  /// What a driver finds in the used descriptor at `index`, in the first round.
  void expect_used(std::uint16_t index, std::uint16_t id, std::uint32_t length) {
    const PackedDesc desc = driver.packed_desc(index);
    EXPECT_TRUE(packed_is_used(desc.flags, true));
    EXPECT_EQ(desc.id, id);
    EXPECT_EQ(desc.len, length);
    EXPECT_EQ((desc.flags & kDescWrite) != 0, length != 0);
  }
  /// Refuses the chain at the ring's beginning, and takes the one at `next`.
  void expect_bad_chain(std::uint16_t next, std::size_t answer = 0) {
    put(next, {kBuffer, 16, 77, kShown});
    ASSERT_EQ(queue.pop(chain), Pop::kMalformed);
    EXPECT_EQ(counters.bad_chains.get(), 1U);
    EXPECT_TRUE(chain.readable().empty());
    EXPECT_EQ(chain.writable_bytes(), answer);
    const std::uint16_t id = chain.head();
    queue.complete(chain, 0);
    ASSERT_EQ(queue.pop(chain), Pop::kChain);
    EXPECT_EQ(chain.head(), 77U);
    queue.complete(chain, 0);
    EXPECT_TRUE(queue.publish());
    EXPECT_FALSE(queue.broken());
    expect_used(0, id, 0);
    expect_used(next, 77, 0);
  }
};

// ---- the layout ----

TEST(PackedRing, AUsedDescriptorStandsForItsWholeChain) {
  PackedFixture f;
  f.put(1, {kBuffer, 16, 0, kShown | kDescNext});
  f.put(2, {kBuffer, 16, 500, kShown | kDescWrite});
  f.put(3, {kBuffer, 8, 7, kShown | kDescWrite});
  f.put(0, {kBuffer, 16, 0, kShown | kDescNext});
  DescriptorChain second;
  ASSERT_EQ(f.queue.pop(f.chain), Pop::kChain);
  EXPECT_EQ(f.chain.head(), 500U) << "the id is the last descriptor's";
  EXPECT_EQ(f.chain.readable().size(), 2U);
  EXPECT_EQ(f.chain.writable().size(), 1U);
  ASSERT_EQ(f.queue.pop(second), Pop::kChain);
  f.queue.complete(second, 3);
  f.queue.complete(f.chain, 5);
  EXPECT_TRUE(f.queue.publish());
  f.expect_used(0, 7, 3);
  f.expect_used(1, 500, 5);
  EXPECT_EQ(f.queue.state(), (RingState{.next_avail = 4, .next_used = 4}));
}

TEST(PackedRing, TheFirstOfABatchIsShownLast) {
  PackedFixture f;
  for (std::uint16_t i = 0; i < 3; ++i) f.put(i, {kBuffer, 16, i, kShown});
  std::array<DescriptorChain, 3> chains;
  for (auto& chain : chains) ASSERT_EQ(f.queue.pop(chain), Pop::kChain);
  for (auto& chain : chains) f.queue.complete(chain, 1);
  EXPECT_EQ(f.driver.packed_desc(0).flags, kShown);
  EXPECT_TRUE(packed_is_used(f.driver.packed_desc(1).flags, true));
  EXPECT_TRUE(packed_is_used(f.driver.packed_desc(2).flags, true));
  EXPECT_TRUE(f.queue.publish());
  for (std::uint16_t i = 0; i < 3; ++i) f.expect_used(i, i, 1);
}

TEST(PackedRing, ARingOfAnySizeWraps) {
  for (const std::uint16_t size : std::initializer_list<std::uint16_t>{1, 2, 3, 7, 100}) {
    PackedFixture f(size);
    std::uint16_t at = 0;
    bool wrap = true;
    for (unsigned i = 0; i < 1000; ++i) {
      const auto length = static_cast<std::uint16_t>(1 + i % 3);
      if (length > size) continue;
      for (std::uint16_t k = length; k > 0; --k) {
        const auto index = static_cast<std::uint16_t>((at + k - 1) % size);
        const bool wrap_here = wrap == (at + k - 1 < size);
        f.put(index, {kBuffer, 16, 9,
                      static_cast<std::uint16_t>(packed_avail_flags(wrap_here) |
                                                 (k != length ? kDescNext : 0U))});
      }
      ASSERT_EQ(f.queue.pop(f.chain), Pop::kChain) << size << ", round " << i;
      ASSERT_EQ(f.chain.readable().size(), length);
      f.queue.complete(f.chain, 0);
      ASSERT_TRUE(f.queue.publish());
      ASSERT_TRUE(packed_is_used(f.driver.packed_desc(at).flags, wrap));
      wrap ^= at + length >= size;
      at = static_cast<std::uint16_t>((at + length) % size);
      ASSERT_EQ(f.queue.state(), (RingState{at, at, false, wrap, wrap}));
    }
  }
}

TEST(PackedRing, AskedForAnEventItNamesItsPlaceAndWrapCounter) {
  PackedFixture f(2, {.event_idx = true});
  EXPECT_FALSE(f.queue.enable_kicks());
  EXPECT_EQ(f.driver.device_event().flags, kRingEventFlagsDesc);
  EXPECT_EQ(f.driver.device_event().off_wrap, 0x8000);
  f.expect_works();
  f.expect_works();
  f.queue.suppress_kicks();
  EXPECT_EQ(f.driver.device_event().flags, kRingEventFlagsDisable);
  f.queue.ask_for_kicks();
  EXPECT_EQ(f.driver.device_event().flags, kRingEventFlagsDesc);
  f.expect_works();
  f.expect_works();
  f.queue.ask_for_kicks();
  EXPECT_EQ(f.driver.device_event().off_wrap & 0x7fff, 0);
}

TEST(PackedRing, LargestSizeWorks) {
  const GuestMemory memory = make_memory(std::uint64_t{64} << 20);
  QueueCounters counters;
  const RingFeatures features{.event_idx = true, .packed = true};
  FakeDriver driver(memory, GuestAddress(0x10000), 32768, features);
  auto queue = must(Ring::activate(memory, driver.config(), features, counters));
  DescriptorChain chain;
  for (int round = 0; round < 3; ++round) {
    ASSERT_FALSE(driver.enable_interrupts());
    for (int i = 0; i < 32768; ++i) ASSERT_TRUE(driver.add({{GuestAddress(0), 1, true}}));
    EXPECT_FALSE(driver.add({{GuestAddress(0), 1, true}}));
    EXPECT_EQ(queue.enable_kicks(), false);
    EXPECT_TRUE(driver.offer());
    for (int i = 0; i < 32768; ++i) {
      ASSERT_EQ(queue.pop(chain), Pop::kChain) << i;
      queue.complete(chain, 1);
    }
    EXPECT_EQ(queue.pop(chain), Pop::kEmpty);
    EXPECT_TRUE(queue.publish());
    int reaped = 0;
    while (driver.reap()) ++reaped;
    EXPECT_EQ(reaped, 32768);
  }
}

TEST(PackedRing, StateInTheEncodingOfVhostUser) {
  const RingState state{.next_avail = 3, .next_used = 0x7fff, .avail_wrap = false};
  EXPECT_EQ(packed_base(state), 0xffff'0003U);
  EXPECT_EQ(ring_state_of_packed_base(0xffff'0003U), state);
  EXPECT_EQ(packed_base({}), 0x8000'8000U) << "of a ring that nobody has served yet";
  EXPECT_EQ(ring_state_of_packed_base(0x8000'8000U), RingState{});
  EXPECT_EQ(ring_state_of_packed_base(0x8000U), RingState{}) << "as DPDK says it";
  EXPECT_EQ(ring_state_of_packed_base(0x0001'8002U),
            (RingState{.next_avail = 2, .next_used = 1, .used_wrap = false}));
}

// ---- when the other side asked to hear of it (2.8.10) ----

TEST(PackedEvents, AStepIsHeardOfIfItPassesTheEvent) {
  // Every event of a ring of five, over two rounds, against every step that ends in them.
  constexpr std::uint16_t kOddSize = 5;
  for (unsigned event = 0; event < 2U * kOddSize; ++event) {
    for (unsigned end = kOddSize; end < 2U * kOddSize; ++end) {
      for (unsigned count = 1; count <= kOddSize; ++count) {
        const bool passes = event >= end - count && event < end;
        const auto at =
            packed_event_at(static_cast<std::uint16_t>(event % kOddSize), event < kOddSize);
        EXPECT_EQ(packed_need_event(at, static_cast<std::uint16_t>(end % kOddSize), end < kOddSize,
                                    static_cast<std::uint16_t>(count), kOddSize),
                  passes)
            << event << ", " << count << " up to " << end;
      }
    }
  }
}

// ---- bad-inputs.md, rows 1 to 11 ----

TEST(PackedBadInput, Row1MoreDescriptorsThanTheRingHas) {
  PackedFixture f(4);
  std::array<DescriptorChain, 4> chains;
  for (std::uint16_t i = 0; i < 4; ++i) f.put(i, {kBuffer, 16, i, kShown});
  for (auto& chain : chains) ASSERT_EQ(f.queue.pop(chain), Pop::kChain);
  // All are in flight, and the driver makes one of them available again.
  f.put(0, {kBuffer, 16, 9, packed_avail_flags(false)});
  f.expect_broken();
  for (auto& chain : chains) f.queue.complete(chain, 0);
  EXPECT_TRUE(f.queue.publish());
  EXPECT_EQ(f.queue.in_flight(), 0U);
}

TEST(PackedBadInput, Row1WhatWasNotShownAsUsedIsNotTheDriversAgain) {
  PackedFixture f(2);
  f.put(0, {kBuffer, 16, 0, kShown});
  f.put(1, {kBuffer, 16, 1, kShown});
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(f.queue.pop(f.chain), Pop::kChain);
    f.queue.complete(f.chain, 0);
  }
  f.put(0, {kBuffer, 16, 0, packed_avail_flags(false)});
  f.expect_broken();
}

TEST(PackedBadInput, Row2BufferIdInFlight) {
  PackedFixture f;
  f.put(0, {kBuffer, 16, 5, kShown});
  f.put(1, {kBuffer, 16, 5, kShown});
  DescriptorChain first;
  ASSERT_EQ(f.queue.pop(first), Pop::kChain);
  f.expect_broken();
  f.queue.complete(first, 0);
  EXPECT_EQ(f.queue.in_flight(), 0U);
}

TEST(PackedBadInput, Row3AnyBufferIdWillDo) {
  PackedFixture f;
  std::array<DescriptorChain, 3> chains;
  constexpr std::array<std::uint16_t, 3> kIds{8, 0x8000, 0xffff};
  for (std::uint16_t i = 0; i < 3; ++i) f.put(i, {kBuffer, 16, kIds[i], kShown});
  for (auto& chain : chains) ASSERT_EQ(f.queue.pop(chain), Pop::kChain);
  for (auto& chain : chains) f.queue.complete(chain, 0);
  EXPECT_TRUE(f.queue.publish());
  for (std::uint16_t i = 0; i < 3; ++i) f.expect_used(i, kIds[i], 0);
}

TEST(PackedBadInput, Row4NextWithoutAnEnd) {
  PackedFixture f;
  for (std::uint16_t i = 0; i < 8; ++i) f.put(i, {kBuffer, 16, i, kShown | kDescNext});
  f.expect_broken();
}

TEST(PackedBadInput, Row4NextIntoAChainThatIsInFlight) {
  PackedFixture f(4);
  f.put(0, {kBuffer, 16, 0, kShown});
  DescriptorChain first;
  ASSERT_EQ(f.queue.pop(first), Pop::kChain);
  for (std::uint16_t i = 1; i < 4; ++i) f.put(i, {kBuffer, 16, i, kShown | kDescNext});
  f.expect_broken();
  f.queue.complete(first, 0);
}

TEST(PackedBadInput, Row4MoreBuffersThanAChainHolds) {
  PackedFixture f(512);
  constexpr std::uint16_t kCount = kMaxChainBuffers + 1;
  for (std::uint16_t i = 0; i < kCount; ++i) {
    const bool last = i + 1 == kCount;
    f.put(i, {kBuffer, 1, i, static_cast<std::uint16_t>(kShown | (last ? kDescWrite : kDescNext))});
  }
  f.expect_bad_chain(kCount, 1);
}

TEST(PackedBadInput, Row4MoreBuffersThanAChainHoldsInATable) {
  PackedFixture f(8, {.indirect = true});
  constexpr std::uint32_t kCount = kMaxChainBuffers + 1;
  std::vector<PackedDesc> table(kCount, PackedDesc{kBuffer, 1, 0, 0});
  table.back().flags = kDescWrite;
  ASSERT_TRUE(f.memory.write(GuestAddress(kPackedTable), std::as_bytes(std::span(table))));
  f.put(0, {kPackedTable, kCount * 16, 3, kShown | kDescIndirect});
  f.expect_bad_chain(1, 1);
}

TEST(PackedBadInput, Row5TotalOver32Bits) {
  // Needs a region in which a 2 GiB buffer fits; never touched, so it costs nothing.
  const std::array regions{GuestMemory::RegionSpec{GuestAddress(0), std::uint64_t{3} << 30}};
  const GuestMemory memory = must(GuestMemory::create(regions));
  FakeDriver driver(memory, GuestAddress(0x10000), 8, {.packed = true});
  QueueCounters counters;
  auto queue = must(Ring::activate(memory, driver.config(), driver.features(), counters));
  const std::uint32_t half = 1U << 31;
  ASSERT_TRUE(driver.add({{GuestAddress(0), half, true}, {GuestAddress(0), half, true}}));
  (void)driver.offer();
  DescriptorChain chain;
  ASSERT_EQ(queue.pop(chain), Pop::kMalformed);
  EXPECT_EQ(counters.bad_chains.get(), 1U);
  queue.complete(chain, 0);
}

struct PackedIndirectCase {
  const char* name;
  PackedDesc desc;
  std::size_t answer = 0;
};

class PackedBadIndirect : public ::testing::TestWithParam<PackedIndirectCase> {};

TEST_P(PackedBadIndirect, Row6IsRefused) {
  PackedFixture f(8, {.indirect = true});
  // The table at kBuffer nests; there is nothing wrong with the one at kPackedTable.
  ASSERT_TRUE(f.memory.span(GuestAddress(kBuffer), 16)
                  ->store(0, PackedDesc{kPackedTable, 16, 0, kDescIndirect}));
  ASSERT_TRUE(
      f.memory.span(GuestAddress(kPackedTable), 16)->store(0, PackedDesc{kBuffer, 16, 0, 0}));
  PackedDesc desc = GetParam().desc;
  desc.flags |= kShown | kDescIndirect;
  f.put(0, desc);
  f.put(1, {kBuffer, 16, 4, kShown | kDescWrite});
  const bool two = (desc.flags & kDescNext) != 0;
  f.expect_bad_chain(two ? 2 : 1, GetParam().answer);
}

INSTANTIATE_TEST_SUITE_P(
    Tables, PackedBadIndirect,
    ::testing::Values(PackedIndirectCase{"empty", {kPackedTable, 0, 1, 0}},
                      PackedIndirectCase{"ragged", {kPackedTable, 24, 1, 0}},
                      PackedIndirectCase{"huge", {kBuffer, 0xfffffff0U, 1, 0}},
                      PackedIndirectCase{"nested", {kBuffer, 16, 1, 0}},
                      PackedIndirectCase{"with_next", {kPackedTable, 16, 1, kDescNext}, 16},
                      PackedIndirectCase{"crosses_end_of_ram", {(16U << 20) - 16, 32, 1, 0}},
                      PackedIndirectCase{"in_a_hole", {std::uint64_t{2} << 30, 16, 1, 0}}),
    [](const auto& which) { return which.param.name; });

TEST(PackedBadInput, Row6IndirectAfterDirect) {
  PackedFixture f(8, {.indirect = true});
  const std::array<PackedDesc, 1> table{{{kBuffer, 16, 0, kDescWrite}}};
  ASSERT_TRUE(f.memory.write(GuestAddress(kPackedTable), std::as_bytes(std::span(table))));
  f.put(0, {kBuffer, 16, 1, kShown | kDescNext});
  f.put(1, {kPackedTable, 16, 1, kShown | kDescIndirect});
  f.expect_bad_chain(2, 16);
}

TEST(PackedBadInput, Row6IndirectNotNegotiated) {
  PackedFixture f;
  f.put(0, {kPackedTable, 16, 1, kShown | kDescIndirect | kDescWrite});
  f.expect_bad_chain(1);
}

// 2.8.7: NEXT is reserved in a table, and all of its entries count.
TEST(PackedRing, EntriesOfATableFollowEachOther) {
  PackedFixture f(8, {.indirect = true});
  const std::array<PackedDesc, 3> table{
      {{kBuffer, 16, 9, 0}, {kBuffer, 8, 9, kDescNext}, {kBuffer, 4, 9, kDescWrite}}};
  ASSERT_TRUE(f.memory.write(GuestAddress(kPackedTable), std::as_bytes(std::span(table))));
  f.put(0, {kPackedTable, 48, 1, kShown | kDescIndirect | kDescWrite});
  ASSERT_EQ(f.queue.pop(f.chain), Pop::kChain);
  EXPECT_EQ(f.chain.head(), 1U);
  EXPECT_EQ(f.chain.readable_bytes(), 24U);
  EXPECT_EQ(f.chain.writable_bytes(), 4U);
  f.queue.complete(f.chain, 0);
}

struct PackedBufferCase {
  const char* name;
  std::uint64_t address;
  std::uint32_t length;
};

class PackedBadBuffer : public ::testing::TestWithParam<PackedBufferCase> {};

TEST_P(PackedBadBuffer, Rows7To9AreRefused) {
  PackedFixture f;
  f.put(1, {kBuffer, 32, 3, kShown | kDescWrite});
  f.put(0, {GetParam().address, GetParam().length, 3, kShown | kDescWrite | kDescNext});
  f.expect_bad_chain(2, 32);
}

INSTANTIATE_TEST_SUITE_P(
    Buffers, PackedBadBuffer,
    ::testing::Values(PackedBufferCase{"wraps", UINT64_MAX - 15, 32},
                      PackedBufferCase{"straddles_end_of_region", (16U << 20) - 16, 32},
                      PackedBufferCase{"in_a_hole", std::uint64_t{1} << 31, 16},
                      PackedBufferCase{"past_all_ram", kHighBase + (1U << 20), 1},
                      PackedBufferCase{"zero_length", kBuffer, 0}),
    [](const auto& which) { return which.param.name; });

TEST(PackedBadInput, Row9WritableBeforeReadable) {
  PackedFixture f;
  f.put(1, {kBuffer, 16, 3, kShown});
  f.put(0, {kBuffer, 16, 3, kShown | kDescWrite | kDescNext});
  f.expect_bad_chain(2);
}

TEST(PackedBadInput, Row10Configuration) {
  const GuestMemory memory = make_memory();
  QueueCounters counters;
  const RingFeatures packed{.packed = true};
  const FakeDriver driver(memory, GuestAddress(0x10000), 8, packed);
  const auto refused = [&](auto change) {
    QueueConfig config = driver.config();
    change(config);
    return !Ring::activate(memory, config, packed, counters).has_value();
  };
  EXPECT_FALSE(refused([](QueueConfig&) {}));
  EXPECT_TRUE(refused([](QueueConfig& c) { c.size = 0; }));
  EXPECT_TRUE(refused([](QueueConfig& c) { c.size = 0xffff; }));
  EXPECT_TRUE(refused([](QueueConfig& c) { c.desc = GuestAddress(0x10008); }));
  EXPECT_TRUE(refused([](QueueConfig& c) { c.driver = GuestAddress(0x20002); }));
  EXPECT_TRUE(refused([](QueueConfig& c) { c.device = GuestAddress(0x20002); }));
  EXPECT_TRUE(refused([](QueueConfig& c) { c.device = c.desc; }));
  EXPECT_TRUE(refused([](QueueConfig& c) { c.driver = c.device; }));
  EXPECT_TRUE(refused([](QueueConfig& c) { c.desc = GuestAddress(0x80000000); }));
  EXPECT_TRUE(refused([](QueueConfig& c) { c.device = GuestAddress(UINT64_MAX - 3); }));
  const auto goes_on_at = [&](const RingState& state) {
    return Ring::activate(memory, driver.config(), packed, counters, state).has_value();
  };
  EXPECT_TRUE(goes_on_at({.next_avail = 7, .next_used = 7}));
  EXPECT_FALSE(goes_on_at({.next_avail = 8, .next_used = 7}));
  EXPECT_FALSE(goes_on_at({.next_avail = 7, .next_used = 8}));
}

TEST(PackedBadInput, Row11DriverEventGarbage) {
  PackedFixture f(8, {.event_idx = true});
  for (std::uint32_t i = 0; i < 70'000; ++i) {
    f.driver.set_driver_event({.off_wrap = static_cast<std::uint16_t>(i * 40503U),
                               .flags = static_cast<std::uint16_t>(i % 7 * (i % 3))});
    f.expect_works();
  }
  EXPECT_FALSE(f.queue.broken());
}

// Flags that change while they are looked at: those that showed the chain count.
TEST(PackedBadInput, FlagsOfAnotherRoundShowNothing) {
  PackedFixture f;
  for (const std::uint16_t flags :
       {std::uint16_t{0}, packed_used_flags(true), packed_avail_flags(false)}) {
    f.put(0, {kBuffer, 16, 0, flags});
    EXPECT_FALSE(f.queue.has_available());
    EXPECT_EQ(f.queue.pop(f.chain), Pop::kEmpty);
  }
}

}  // namespace
}  // namespace bellhop
