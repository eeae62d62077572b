#include "virtio/ring/split_ring.h"

#include <gtest/gtest.h>

#include <array>

#include "testing/ring_fixture.h"

namespace bellhop {
namespace {

using testing::FakeDriver;
using testing::kHighBase;
using testing::make_memory;
using testing::must;
using testing::RingFixture;
using namespace virtio;

TEST(SplitRing, DoesNotGoBackBehindAChainThatWasRefused) {
  RingFixture f;
  DescriptorChain good;
  ASSERT_TRUE(f.driver.add({{RingFixture::kData, 16, true}}));
  const std::uint16_t bad = f.driver.add({{RingFixture::kData, 16, true}}).value();
  ASSERT_TRUE(f.driver.add({{RingFixture::kData, 16, true}}));
  f.driver.set_desc(bad,
                    {.addr = RingFixture::kData.value(), .len = 0, .flags = kDescWrite, .next = 0});
  (void)f.driver.offer();
  ASSERT_EQ(f.queue.pop(good), Pop::kChain);
  ASSERT_EQ(f.queue.pop(f.chain), Pop::kMalformed);
  EXPECT_EQ(f.counters.bad_chains.get(), 1U);
  f.queue.complete(f.chain, 0);
  ASSERT_EQ(f.queue.pop(f.chain), Pop::kChain);
  EXPECT_TRUE(f.queue.rewind(f.chain));
  // The refused one has been given back: it must not come by again.
  EXPECT_FALSE(f.queue.rewind(good));
  f.queue.complete(good, 0);
  ASSERT_EQ(f.queue.pop(f.chain), Pop::kChain);
  f.queue.complete(f.chain, 0);
  (void)f.queue.publish();
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(f.driver.reap().has_value());
  f.expect_works();
}

TEST(SplitRing, ItsIndicesTellWhatIsOutstanding) {
  RingFixture f;
  const auto outstanding = [&f] { return SplitRing::outstanding(f.memory, f.driver.config()); };
  EXPECT_EQ(outstanding(), 0);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(f.driver.add({{RingFixture::kData, 16, true}}));
  EXPECT_EQ(outstanding(), 0) << "not offered yet";
  (void)f.driver.offer();
  EXPECT_EQ(outstanding(), 3) << "nobody has taken them";
  ASSERT_EQ(f.queue.pop(f.chain), Pop::kChain);
  f.queue.complete(f.chain, 0);
  EXPECT_EQ(outstanding(), 3) << "not shown yet";
  (void)f.queue.publish();
  EXPECT_EQ(outstanding(), 2);
  f.driver.set_avail_idx(static_cast<std::uint16_t>(2 + f.driver.config().size));
  EXPECT_EQ(outstanding(), std::nullopt) << "more than there is room for";
  QueueConfig elsewhere = f.driver.config();
  elsewhere.device = GuestAddress(std::uint64_t{1} << 40);
  EXPECT_EQ(SplitRing::outstanding(f.memory, elsewhere), std::nullopt);
}

// ---- bad-inputs.md, rows 1 to 11 ----

TEST(VirtqueueBadInput, Row1AvailIndexJumps) {
  RingFixture f;
  f.driver.set_avail_idx(9);
  f.expect_broken();
}

TEST(VirtqueueBadInput, Row2HeadOfferedTwice) {
  RingFixture f;
  ASSERT_TRUE(f.driver.add({{RingFixture::kData, 16, false}}));
  f.driver.push_head(0);
  (void)f.driver.offer();
  DescriptorChain first;
  ASSERT_EQ(f.queue.pop(first), Pop::kChain);
  f.driver.push_head(first.head());
  f.driver.push_head(first.head());
  (void)f.driver.offer();
  (void)f.queue.pop(f.chain);
  if (f.chain.taken()) f.queue.complete(f.chain, 0);
  EXPECT_EQ(f.queue.pop(f.chain), Pop::kBroken);
  f.queue.complete(first, 0);
}

TEST(VirtqueueBadInput, Row3HeadOutOfRange) {
  RingFixture f;
  f.driver.push_head(8);
  (void)f.driver.offer();
  f.expect_broken();
}

TEST(VirtqueueBadInput, Row3NextOutOfRange) {
  RingFixture f;
  f.offer_raw({RingFixture::kData.value(), 16, kDescNext, 8});
  f.expect_bad_chain();
}

TEST(VirtqueueBadInput, Row4Cycle) {
  RingFixture f;
  f.offer_raw({RingFixture::kData.value(), 16, kDescNext, 0});
  f.expect_bad_chain();
}

// 2.7.5.3.1 forbids it, and Linux does it: a table is not bound to the ring's size.
TEST(SplitRing, TakesAnIndirectTableThatIsLongerThanTheRing) {
  RingFixture f(8, {.indirect = true});
  std::array<FakeDriver::Buffer, 9> buffers;
  buffers.fill({RingFixture::kData, 8, false});
  ASSERT_TRUE(f.driver.add(buffers));
  (void)f.driver.offer();
  ASSERT_EQ(f.queue.pop(f.chain), Pop::kChain);
  EXPECT_EQ(f.chain.readable().size(), 9U);
  f.queue.complete(f.chain, 0);
}

TEST(VirtqueueBadInput, Row4MoreBuffersThanAChainHolds) {
  RingFixture f(256, {.indirect = true});
  constexpr std::uint32_t kCount = kMaxChainBuffers + 1;
  const auto table = f.memory.span(RingFixture::kData, kCount * sizeof(Desc));
  for (std::uint32_t i = 0; i < kCount; ++i) {
    const bool last = i + 1 == kCount;
    ASSERT_TRUE(table->store(i * sizeof(Desc),
                             Desc{0x900000, 1, static_cast<std::uint16_t>(last ? 0 : kDescNext),
                                  static_cast<std::uint16_t>(i + 1)}));
  }
  f.offer_raw({RingFixture::kData.value(), kCount * sizeof(Desc), kDescIndirect, 0});
  f.expect_bad_chain();
}

// What a disk answers with lies at the end of its chain, however bad the rest of that is.
TEST(VirtqueueBadInput, ALastWritableBufferIsLeftForAStatus) {
  RingFixture f(256, {.indirect = true});
  constexpr std::uint32_t kCount = kMaxChainBuffers + 1;
  const auto table = f.memory.span(RingFixture::kData, kCount * sizeof(Desc));
  for (std::uint32_t i = 0; i < kCount; ++i) {
    const bool last = i + 1 == kCount;
    ASSERT_TRUE(table->store(
        i * sizeof(Desc),
        Desc{0x900000, 3, static_cast<std::uint16_t>(last ? std::uint16_t{kDescWrite} : kDescNext),
             static_cast<std::uint16_t>(i + 1)}));
  }
  f.offer_raw({RingFixture::kData.value(), kCount * sizeof(Desc), kDescIndirect, 0});
  f.expect_bad_chain(3);
}

TEST(VirtqueueBadInput, Row5TotalOver32Bits) {
  // Needs a region in which a 2 GiB buffer fits; never touched, so it costs nothing.
  const std::array regions{GuestMemory::RegionSpec{GuestAddress(0), std::uint64_t{3} << 30}};
  const GuestMemory memory = must(GuestMemory::create(regions));
  FakeDriver driver(memory, RingFixture::kRing, 8);
  QueueCounters counters;
  auto queue = must(SplitRing::activate(memory, driver.config(), {}, counters));
  const std::uint32_t half = 1U << 31;
  ASSERT_TRUE(driver.add({{GuestAddress(0), half, true}, {GuestAddress(0), half, true}}));
  (void)driver.offer();
  DescriptorChain chain;
  ASSERT_EQ(queue.pop(chain), Pop::kMalformed);
  EXPECT_EQ(counters.bad_chains.get(), 1U);
  queue.complete(chain, 0);
}

struct IndirectCase {
  const char* name;
  Desc desc;
};

constexpr GuestAddress kTable{RingFixture::kData.value() + 0x1000};

class VirtqueueBadIndirect : public ::testing::TestWithParam<IndirectCase> {};

TEST_P(VirtqueueBadIndirect, Row6IsRefused) {
  RingFixture f(8, {.indirect = true});
  // The table at RingFixture::kData nests; there is nothing wrong with the one at kTable.
  ASSERT_TRUE(f.memory.span(RingFixture::kData, 16)
                  ->store(0, Desc{RingFixture::kData.value(), 16, kDescIndirect, 0}));
  ASSERT_TRUE(f.memory.span(kTable, 16)->store(0, Desc{RingFixture::kData.value(), 16, 0, 0}));
  f.offer_raw(GetParam().desc);
  f.expect_bad_chain();
}

INSTANTIATE_TEST_SUITE_P(
    Tables, VirtqueueBadIndirect,
    ::testing::Values(IndirectCase{"empty", {kTable.value(), 0, kDescIndirect, 0}},
                      IndirectCase{"ragged", {kTable.value(), 24, kDescIndirect, 0}},
                      IndirectCase{"huge",
                                   {RingFixture::kData.value(), 0xfffffff0U, kDescIndirect, 0}},
                      IndirectCase{"nested", {RingFixture::kData.value(), 16, kDescIndirect, 0}},
                      IndirectCase{"with_next", {kTable.value(), 16, kDescIndirect | kDescNext, 1}},
                      IndirectCase{"crosses_end_of_ram", {(16U << 20) - 16, 32, kDescIndirect, 0}},
                      IndirectCase{"in_a_hole", {std::uint64_t{2} << 30, 16, kDescIndirect, 0}}),
    [](const auto& which) { return which.param.name; });

TEST(VirtqueueBadInput, Row6IndirectNotNegotiated) {
  RingFixture f;
  f.offer_raw({RingFixture::kData.value(), 16, kDescIndirect, 0});
  f.expect_bad_chain();
}

struct BufferCase {
  const char* name;
  std::uint64_t address;
  std::uint32_t length;
};

class VirtqueueBadBuffer : public ::testing::TestWithParam<BufferCase> {};

TEST_P(VirtqueueBadBuffer, Rows7To9AreRefused) {
  RingFixture f;
  f.offer_raw({GetParam().address, GetParam().length, kDescWrite, 0});
  f.expect_bad_chain();
}

INSTANTIATE_TEST_SUITE_P(
    Buffers, VirtqueueBadBuffer,
    ::testing::Values(BufferCase{"wraps", UINT64_MAX - 15, 32},
                      BufferCase{"straddles_end_of_region", (16U << 20) - 16, 32},
                      BufferCase{"in_a_hole", std::uint64_t{1} << 31, 16},
                      BufferCase{"past_all_ram", kHighBase + (1U << 20), 1},
                      BufferCase{"device_registers", 0xe0000000U, 4096},
                      BufferCase{"zero_length", RingFixture::kData.value(), 0}),
    [](const auto& which) { return which.param.name; });

TEST(VirtqueueBadInput, Row8BufferOnTheRingsIsOnlyMemory) {
  RingFixture f;
  ASSERT_TRUE(f.driver.add({{RingFixture::kRing, 64, true}}));
  (void)f.driver.offer();
  ASSERT_EQ(f.queue.pop(f.chain), Pop::kChain);
  f.chain.writable()[0].fill(std::byte{0xff});
  f.queue.complete(f.chain, 64);
  (void)f.queue.publish();
  EXPECT_EQ(f.queue.pop(f.chain), Pop::kEmpty);
}

TEST(VirtqueueBadInput, Row9WritableBeforeReadable) {
  RingFixture f;
  f.driver.set_desc(1, {RingFixture::kData.value(), 16, 0, 0});
  f.offer_raw({RingFixture::kData.value(), 16, kDescWrite | kDescNext, 1});
  f.expect_bad_chain();
}

TEST(VirtqueueBadInput, Row10Configuration) {
  const GuestMemory memory = make_memory();
  QueueCounters counters;
  const FakeDriver driver(memory, RingFixture::kRing, 8);
  const auto refused = [&](auto change) {
    QueueConfig config = driver.config();
    change(config);
    return !SplitRing::activate(memory, config, {}, counters).has_value();
  };
  EXPECT_FALSE(refused([](QueueConfig&) {}));
  EXPECT_TRUE(refused([](QueueConfig& c) { c.size = 0; }));
  EXPECT_TRUE(refused([](QueueConfig& c) { c.size = 7; }));
  EXPECT_TRUE(refused([](QueueConfig& c) { c.size = 0xffff; }));
  EXPECT_TRUE(refused([](QueueConfig& c) { c.desc = GuestAddress(0x10008); }));
  EXPECT_TRUE(refused([](QueueConfig& c) { c.driver = GuestAddress(0x20001); }));
  EXPECT_TRUE(refused([](QueueConfig& c) { c.device = GuestAddress(0x20002); }));
  EXPECT_TRUE(refused([](QueueConfig& c) { c.device = c.desc; }));
  EXPECT_TRUE(refused([](QueueConfig& c) { c.driver = c.device; }));
  EXPECT_TRUE(refused([](QueueConfig& c) { c.desc = GuestAddress(0x80000000); }));
  EXPECT_TRUE(refused([](QueueConfig& c) { c.device = GuestAddress(UINT64_MAX - 3); }));
  // The largest legal size works.
  const FakeDriver large(memory, GuestAddress(0), 32768 / 4);
  EXPECT_TRUE(SplitRing::activate(memory, large.config(), {}, counters).has_value());
}

TEST(SplitRing, LargestSizeWorks) {
  const GuestMemory memory = make_memory(std::uint64_t{64} << 20);
  QueueCounters counters;
  FakeDriver driver(memory, RingFixture::kRing, 32768, {.event_idx = true});
  auto queue = must(SplitRing::activate(memory, driver.config(), {.event_idx = true}, counters));
  for (int i = 0; i < 32768; ++i) ASSERT_TRUE(driver.add({{GuestAddress(0), 1, true}}));
  (void)driver.offer();
  DescriptorChain chain;
  for (int i = 0; i < 32768; ++i) {
    ASSERT_EQ(queue.pop(chain), Pop::kChain) << i;
    queue.complete(chain, 1);
  }
  EXPECT_EQ(queue.pop(chain), Pop::kEmpty);
  (void)queue.publish();
  int reaped = 0;
  while (driver.reap()) ++reaped;
  EXPECT_EQ(reaped, 32768);
}

TEST(VirtqueueBadInput, Row11UsedEventGarbageAndFlagFlips) {
  RingFixture f(8, {.event_idx = true});
  for (std::uint32_t i = 0; i < 70'000; ++i) {
    f.driver.set_used_event(static_cast<std::uint16_t>(i * 40503U));
    f.driver.set_avail_flags(static_cast<std::uint16_t>(i & 1U));
    f.expect_works();
  }
  EXPECT_FALSE(f.queue.broken());
}

}  // namespace
}  // namespace bellhop
