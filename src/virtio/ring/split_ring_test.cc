#include "virtio/ring/split_ring.h"

#include <gtest/gtest.h>

#include <array>

#include "testing/fake_driver.h"
#include "testing/test_memory.h"
#include "virtio/abi/ring.h"

namespace bellhop {
namespace {

using testing::FakeDriver;
using testing::kHighBase;
using testing::make_memory;
using testing::must;
using namespace virtio;

constexpr GuestAddress kRing{0x10000};
constexpr GuestAddress kData{0x800000};

struct Fixture {
  explicit Fixture(std::uint16_t size = 8, RingFeatures features = {})
      : memory(make_memory()),
        driver(memory, kRing, size, features),
        queue(must(SplitRing::activate(memory, driver.config(), features, counters))) {}

  /// Offers one raw descriptor as head 0.
  void offer_raw(const Desc& desc) {
    driver.set_desc(0, desc);
    driver.push_head(0);
    (void)driver.offer();
  }
  /// The chain at hand must be refused on its own, and the queue be alive. `answer` bytes of it are
  /// left for a status.
  void expect_bad_chain(std::size_t answer = 0) {
    ASSERT_EQ(queue.pop(chain), Pop::kMalformed);
    EXPECT_EQ(counters.bad_chains.get(), 1U);
    EXPECT_FALSE(queue.broken());
    EXPECT_TRUE(chain.readable().empty());
    EXPECT_EQ(chain.writable_bytes(), answer);
    queue.complete(chain, 0);
    EXPECT_EQ(queue.pop(chain), Pop::kEmpty);
    (void)queue.publish();
    const auto used = driver.reap();
    ASSERT_TRUE(used.has_value());
    EXPECT_EQ(used->length, 0U);
    expect_works();
  }
  void expect_broken() {
    EXPECT_EQ(queue.pop(chain), Pop::kBroken);
    EXPECT_EQ(queue.pop(chain), Pop::kBroken);
    EXPECT_TRUE(queue.broken());
    EXPECT_EQ(counters.broken.get(), 1U);
  }
  void expect_works() {
    const auto head = driver.add({{kData, 16, false}, {kData, 32, true}});
    ASSERT_TRUE(head.has_value());
    (void)driver.offer();
    ASSERT_EQ(queue.pop(chain), Pop::kChain);
    EXPECT_EQ(chain.head(), *head);
    queue.complete(chain, 5);
    (void)queue.publish();
    const auto used = driver.reap();
    ASSERT_TRUE(used.has_value());
    EXPECT_EQ(used->id, *head);
    EXPECT_EQ(used->length, 5U);
  }

  GuestMemory memory;
  FakeDriver driver;
  QueueCounters counters;
  SplitRing queue;
  DescriptorChain chain;
};

class VirtqueueBothLayouts : public ::testing::TestWithParam<RingFeatures> {};

TEST_P(VirtqueueBothLayouts, CarriesChainsAroundManyTimes) {
  Fixture f(8, GetParam());
  // More than 65536 rounds: every index wraps.
  for (int i = 0; i < 70'000; ++i) {
    f.expect_works();
    if (::testing::Test::HasFailure()) FAIL() << "round " << i;
  }
  EXPECT_EQ(f.counters.chains.get(), 70'000U);
  EXPECT_EQ(f.queue.in_flight(), 0U);
}

TEST_P(VirtqueueBothLayouts, GivesBuffersInOrderAndTotals) {
  Fixture f(8, GetParam());
  ASSERT_TRUE(f.driver.add({{kData, 16, false},
                            {GuestAddress(kHighBase), 100, false},
                            {GuestAddress(0x900000), 7, true}}));
  (void)f.driver.offer();
  ASSERT_EQ(f.queue.pop(f.chain), Pop::kChain);
  EXPECT_EQ(f.chain.readable().size(), 2U);
  EXPECT_EQ(f.chain.writable().size(), 1U);
  EXPECT_EQ(f.chain.readable_bytes(), 116U);
  EXPECT_EQ(f.chain.writable_bytes(), 7U);

  // Writes through the chain land in guest memory, across buffers.
  const std::array<std::byte, 4> bytes{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
  ASSERT_TRUE(f.memory.write(GuestAddress(kData.value() + 14), std::span(bytes).first(2)));
  ASSERT_TRUE(f.memory.write(GuestAddress(kHighBase), std::span(bytes).last(2)));
  std::array<std::byte, 4> got{};
  EXPECT_EQ(BufferRun(f.chain.readable()).copy_out(14, got), 4U);
  EXPECT_EQ(got, bytes);
  EXPECT_EQ(BufferRun(f.chain.writable()).copy_in(5, bytes), 2U);
  std::array<std::byte, 2> written{};
  ASSERT_TRUE(f.memory.read(GuestAddress(0x900005), written));
  EXPECT_EQ(written[1], std::byte{2});
  f.queue.complete(f.chain, 0);
}

TEST_P(VirtqueueBothLayouts, GivesAgainWhatWasPutBack) {
  Fixture f(8, GetParam());
  std::array<DescriptorChain, 3> chains;
  std::array<std::uint16_t, 3> heads{};
  // Past the wrap of every index.
  for (int round = 0; round < 30'000; ++round) {
    for (auto& head : heads) head = f.driver.add({{kData, 16, false}, {kData, 32, true}}).value();
    (void)f.driver.offer();
    for (auto& chain : chains) ASSERT_EQ(f.queue.pop(chain), Pop::kChain);
    ASSERT_EQ(f.queue.in_flight(), 3U);
    f.queue.complete(chains[0], 1);
    ASSERT_FALSE(f.queue.rewind(chains[1])) << "not the last one";
    ASSERT_TRUE(chains[1].taken());
    ASSERT_TRUE(f.queue.rewind(chains[2]));
    ASSERT_TRUE(f.queue.rewind(chains[1]));
    ASSERT_FALSE(chains[1].taken());
    ASSERT_EQ(f.queue.in_flight(), 0U);
    ASSERT_TRUE(f.queue.has_available());
    for (int i = 1; i < 3; ++i) {
      ASSERT_EQ(f.queue.pop(f.chain), Pop::kChain);
      ASSERT_EQ(f.chain.head(), heads[static_cast<std::size_t>(i)]);
      ASSERT_EQ(f.chain.writable_bytes(), 32U);
      f.queue.complete(f.chain, 2);
    }
    ASSERT_EQ(f.queue.pop(f.chain), Pop::kEmpty);
    (void)f.queue.publish();
    for (const auto head : heads) ASSERT_EQ(f.driver.reap()->id, head);
  }
  EXPECT_EQ(f.counters.chains.get(), 90'000U) << "what was put back does not count";
}

TEST(SplitRing, DoesNotGoBackBehindAChainThatWasRefused) {
  Fixture f;
  DescriptorChain good;
  ASSERT_TRUE(f.driver.add({{kData, 16, true}}));
  const std::uint16_t bad = f.driver.add({{kData, 16, true}}).value();
  ASSERT_TRUE(f.driver.add({{kData, 16, true}}));
  f.driver.set_desc(bad, {.addr = kData.value(), .len = 0, .flags = kDescWrite, .next = 0});
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

TEST_P(VirtqueueBothLayouts, BatchIsPublishedAtOnce) {
  Fixture f(8, GetParam());
  std::array<DescriptorChain, 3> chains;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(f.driver.add({{kData, 1, true}}));
  (void)f.driver.offer();
  for (auto& chain : chains) ASSERT_EQ(f.queue.pop(chain), Pop::kChain);
  for (auto& chain : chains) f.queue.complete(chain, 1);
  EXPECT_EQ(f.driver.used_idx(), 0U);
  EXPECT_TRUE(f.queue.publish());
  EXPECT_EQ(f.driver.used_idx(), 3U);
  EXPECT_FALSE(f.queue.publish()) << "nothing new, nothing to notify";
  EXPECT_EQ(f.counters.batches.get(), 1U);
}

TEST_P(VirtqueueBothLayouts, KicksAreSuppressedWhileDraining) {
  Fixture f(8, GetParam());
  EXPECT_FALSE(f.queue.enable_kicks());
  ASSERT_TRUE(f.driver.add({{kData, 1, true}}));
  EXPECT_TRUE(f.driver.offer()) << "the first kick is wanted";
  f.queue.suppress_kicks();
  ASSERT_EQ(f.queue.pop(f.chain), Pop::kChain);
  f.queue.complete(f.chain, 0);
  ASSERT_TRUE(f.driver.add({{kData, 1, true}}));
  EXPECT_FALSE(f.driver.offer()) << "the device is looking anyway";
  EXPECT_TRUE(f.queue.enable_kicks()) << "what slipped in must be seen";
  ASSERT_EQ(f.queue.pop(f.chain), Pop::kChain);
  f.queue.complete(f.chain, 0);
  EXPECT_FALSE(f.queue.enable_kicks());
  ASSERT_TRUE(f.driver.add({{kData, 1, true}}));
  EXPECT_TRUE(f.driver.offer());
}

TEST_P(VirtqueueBothLayouts, InterruptsAreSuppressedWhileReaping) {
  Fixture f(8, GetParam());
  const auto one = [&] {
    ASSERT_TRUE(f.driver.add({{kData, 1, true}}));
    (void)f.driver.offer();
    ASSERT_EQ(f.queue.pop(f.chain), Pop::kChain);
    f.queue.complete(f.chain, 0);
  };
  EXPECT_FALSE(f.driver.enable_interrupts());
  one();
  EXPECT_TRUE(f.queue.publish());
  f.driver.suppress_interrupts();
  one();
  EXPECT_FALSE(f.queue.publish());
  EXPECT_TRUE(f.driver.enable_interrupts()) << "two finished meanwhile";
  EXPECT_TRUE(f.driver.reap());
  EXPECT_TRUE(f.driver.reap());
  EXPECT_FALSE(f.driver.reap());
  EXPECT_FALSE(f.driver.enable_interrupts());
  one();
  EXPECT_TRUE(f.queue.publish());
  EXPECT_EQ(f.counters.interrupts_saved.get(), 1U);
}

INSTANTIATE_TEST_SUITE_P(Rings, VirtqueueBothLayouts,
                         ::testing::Values(RingFeatures{false, false}, RingFeatures{true, false},
                                           RingFeatures{false, true}, RingFeatures{true, true}),
                         [](const auto& which) {
                           return std::string(which.param.indirect ? "indirect" : "direct") +
                                  (which.param.event_idx ? "_event_idx" : "_flags");
                         });

// ---- bad-inputs.md, rows 1 to 11 ----

TEST(VirtqueueBadInput, Row1AvailIndexJumps) {
  Fixture f;
  f.driver.set_avail_idx(9);
  f.expect_broken();
}

TEST(VirtqueueBadInput, Row2HeadOfferedTwice) {
  Fixture f;
  ASSERT_TRUE(f.driver.add({{kData, 16, false}}));
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
  Fixture f;
  f.driver.push_head(8);
  (void)f.driver.offer();
  f.expect_broken();
}

TEST(VirtqueueBadInput, Row3NextOutOfRange) {
  Fixture f;
  f.offer_raw({kData.value(), 16, kDescNext, 8});
  f.expect_bad_chain();
}

TEST(VirtqueueBadInput, Row4Cycle) {
  Fixture f;
  f.offer_raw({kData.value(), 16, kDescNext, 0});
  f.expect_bad_chain();
}

// 2.7.5.3.1 forbids it, and Linux does it: a table is not bound to the ring's size.
TEST(SplitRing, TakesAnIndirectTableThatIsLongerThanTheRing) {
  Fixture f(8, {.indirect = true});
  std::array<FakeDriver::Buffer, 9> buffers;
  buffers.fill({kData, 8, false});
  ASSERT_TRUE(f.driver.add(buffers));
  (void)f.driver.offer();
  ASSERT_EQ(f.queue.pop(f.chain), Pop::kChain);
  EXPECT_EQ(f.chain.readable().size(), 9U);
  f.queue.complete(f.chain, 0);
}

TEST(VirtqueueBadInput, Row4MoreBuffersThanAChainHolds) {
  Fixture f(256, {.indirect = true});
  constexpr std::uint32_t kCount = kMaxChainBuffers + 1;
  const auto table = f.memory.span(kData, kCount * sizeof(Desc));
  for (std::uint32_t i = 0; i < kCount; ++i) {
    const bool last = i + 1 == kCount;
    ASSERT_TRUE(table->store(i * sizeof(Desc),
                             Desc{0x900000, 1, static_cast<std::uint16_t>(last ? 0 : kDescNext),
                                  static_cast<std::uint16_t>(i + 1)}));
  }
  f.offer_raw({kData.value(), kCount * sizeof(Desc), kDescIndirect, 0});
  f.expect_bad_chain();
}

// What a disk answers with lies at the end of its chain, however bad the rest of that is.
TEST(VirtqueueBadInput, ALastWritableBufferIsLeftForAStatus) {
  Fixture f(256, {.indirect = true});
  constexpr std::uint32_t kCount = kMaxChainBuffers + 1;
  const auto table = f.memory.span(kData, kCount * sizeof(Desc));
  for (std::uint32_t i = 0; i < kCount; ++i) {
    const bool last = i + 1 == kCount;
    ASSERT_TRUE(table->store(
        i * sizeof(Desc),
        Desc{0x900000, 3, static_cast<std::uint16_t>(last ? std::uint16_t{kDescWrite} : kDescNext),
             static_cast<std::uint16_t>(i + 1)}));
  }
  f.offer_raw({kData.value(), kCount * sizeof(Desc), kDescIndirect, 0});
  f.expect_bad_chain(3);
}

TEST(VirtqueueBadInput, Row5TotalOver32Bits) {
  // Needs a region in which a 2 GiB buffer fits; never touched, so it costs nothing.
  const std::array regions{GuestMemory::RegionSpec{GuestAddress(0), std::uint64_t{3} << 30}};
  const GuestMemory memory = must(GuestMemory::create(regions));
  FakeDriver driver(memory, kRing, 8);
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

constexpr GuestAddress kTable{kData.value() + 0x1000};

class VirtqueueBadIndirect : public ::testing::TestWithParam<IndirectCase> {};

TEST_P(VirtqueueBadIndirect, Row6IsRefused) {
  Fixture f(8, {.indirect = true});
  // The table at kData nests; there is nothing wrong with the one at kTable.
  ASSERT_TRUE(f.memory.span(kData, 16)->store(0, Desc{kData.value(), 16, kDescIndirect, 0}));
  ASSERT_TRUE(f.memory.span(kTable, 16)->store(0, Desc{kData.value(), 16, 0, 0}));
  f.offer_raw(GetParam().desc);
  f.expect_bad_chain();
}

INSTANTIATE_TEST_SUITE_P(
    Tables, VirtqueueBadIndirect,
    ::testing::Values(IndirectCase{"empty", {kTable.value(), 0, kDescIndirect, 0}},
                      IndirectCase{"ragged", {kTable.value(), 24, kDescIndirect, 0}},
                      IndirectCase{"huge", {kData.value(), 0xfffffff0U, kDescIndirect, 0}},
                      IndirectCase{"nested", {kData.value(), 16, kDescIndirect, 0}},
                      IndirectCase{"with_next", {kTable.value(), 16, kDescIndirect | kDescNext, 1}},
                      IndirectCase{"crosses_end_of_ram", {(16U << 20) - 16, 32, kDescIndirect, 0}},
                      IndirectCase{"in_a_hole", {std::uint64_t{2} << 30, 16, kDescIndirect, 0}}),
    [](const auto& which) { return which.param.name; });

TEST(VirtqueueBadInput, Row6IndirectNotNegotiated) {
  Fixture f;
  f.offer_raw({kData.value(), 16, kDescIndirect, 0});
  f.expect_bad_chain();
}

struct BufferCase {
  const char* name;
  std::uint64_t address;
  std::uint32_t length;
};

class VirtqueueBadBuffer : public ::testing::TestWithParam<BufferCase> {};

TEST_P(VirtqueueBadBuffer, Rows7To9AreRefused) {
  Fixture f;
  f.offer_raw({GetParam().address, GetParam().length, kDescWrite, 0});
  f.expect_bad_chain();
}

INSTANTIATE_TEST_SUITE_P(Buffers, VirtqueueBadBuffer,
                         ::testing::Values(BufferCase{"wraps", UINT64_MAX - 15, 32},
                                           BufferCase{"straddles_end_of_region", (16U << 20) - 16,
                                                      32},
                                           BufferCase{"in_a_hole", std::uint64_t{1} << 31, 16},
                                           BufferCase{"past_all_ram", kHighBase + (1U << 20), 1},
                                           BufferCase{"device_registers", 0xe0000000U, 4096},
                                           BufferCase{"zero_length", kData.value(), 0}),
                         [](const auto& which) { return which.param.name; });

TEST(VirtqueueBadInput, Row8BufferOnTheRingsIsOnlyMemory) {
  Fixture f;
  ASSERT_TRUE(f.driver.add({{kRing, 64, true}}));
  (void)f.driver.offer();
  ASSERT_EQ(f.queue.pop(f.chain), Pop::kChain);
  f.chain.writable()[0].fill(std::byte{0xff});
  f.queue.complete(f.chain, 64);
  (void)f.queue.publish();
  EXPECT_EQ(f.queue.pop(f.chain), Pop::kEmpty);
}

TEST(VirtqueueBadInput, Row9WritableBeforeReadable) {
  Fixture f;
  f.driver.set_desc(1, {kData.value(), 16, 0, 0});
  f.offer_raw({kData.value(), 16, kDescWrite | kDescNext, 1});
  f.expect_bad_chain();
}

TEST(VirtqueueBadInput, Row10Configuration) {
  const GuestMemory memory = make_memory();
  QueueCounters counters;
  const FakeDriver driver(memory, kRing, 8);
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
  FakeDriver driver(memory, kRing, 32768, {.event_idx = true});
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
  Fixture f(8, {.event_idx = true});
  for (std::uint32_t i = 0; i < 70'000; ++i) {
    f.driver.set_used_event(static_cast<std::uint16_t>(i * 40503U));
    f.driver.set_avail_flags(static_cast<std::uint16_t>(i & 1U));
    f.expect_works();
  }
  EXPECT_FALSE(f.queue.broken());
}

}  // namespace
}  // namespace bellhop
