#include "virtio/ring/ring.h"

#include <gtest/gtest.h>

#include <array>

#include "testing/ring_fixture.h"

namespace bellhop {
namespace {

using testing::FakeDriver;
using testing::kHighBase;
using testing::must;
using testing::RingFixture;

// What holds for rings of both layouts.
class RingTest : public ::testing::TestWithParam<RingFeatures> {};

TEST_P(RingTest, CarriesChainsAroundManyTimes) {
  RingFixture f(8, GetParam());
  // More than 65536 rounds: every index wraps.
  for (int i = 0; i < 70'000; ++i) {
    f.expect_works();
    if (::testing::Test::HasFailure()) FAIL() << "round " << i;
  }
  EXPECT_EQ(f.counters.chains.get(), 70'000U);
  EXPECT_EQ(f.queue.in_flight(), 0U);
}

TEST_P(RingTest, GivesBuffersInOrderAndTotals) {
  RingFixture f(8, GetParam());
  ASSERT_TRUE(f.driver.add({{RingFixture::kData, 16, false},
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
  ASSERT_TRUE(
      f.memory.write(GuestAddress(RingFixture::kData.value() + 14), std::span(bytes).first(2)));
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

TEST_P(RingTest, GivesAgainWhatWasPutBack) {
  RingFixture f(8, GetParam());
  std::array<DescriptorChain, 3> chains;
  std::array<std::uint16_t, 3> heads{};
  // Past the wrap of every index.
  for (int round = 0; round < 30'000; ++round) {
    for (auto& head : heads)
      head =
          f.driver.add({{RingFixture::kData, 16, false}, {RingFixture::kData, 32, true}}).value();
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

TEST_P(RingTest, BatchIsPublishedAtOnce) {
  RingFixture f(8, GetParam());
  std::array<DescriptorChain, 3> chains;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(f.driver.add({{RingFixture::kData, 1, true}}));
  (void)f.driver.offer();
  for (auto& chain : chains) ASSERT_EQ(f.queue.pop(chain), Pop::kChain);
  for (auto& chain : chains) f.queue.complete(chain, 1);
  EXPECT_EQ(f.driver.used_idx(), 0U);
  EXPECT_TRUE(f.queue.publish());
  EXPECT_EQ(f.driver.used_idx(), 3U);
  EXPECT_FALSE(f.queue.publish()) << "nothing new, nothing to notify";
  EXPECT_EQ(f.counters.batches.get(), 1U);
}

TEST_P(RingTest, KicksAreSuppressedWhileDraining) {
  RingFixture f(8, GetParam());
  EXPECT_FALSE(f.queue.enable_kicks());
  ASSERT_TRUE(f.driver.add({{RingFixture::kData, 1, true}}));
  EXPECT_TRUE(f.driver.offer()) << "the first kick is wanted";
  f.queue.suppress_kicks();
  ASSERT_EQ(f.queue.pop(f.chain), Pop::kChain);
  f.queue.complete(f.chain, 0);
  ASSERT_TRUE(f.driver.add({{RingFixture::kData, 1, true}}));
  EXPECT_FALSE(f.driver.offer()) << "the device is looking anyway";
  EXPECT_TRUE(f.queue.enable_kicks()) << "what slipped in must be seen";
  ASSERT_EQ(f.queue.pop(f.chain), Pop::kChain);
  f.queue.complete(f.chain, 0);
  EXPECT_FALSE(f.queue.enable_kicks());
  ASSERT_TRUE(f.driver.add({{RingFixture::kData, 1, true}}));
  EXPECT_TRUE(f.driver.offer());
}

TEST_P(RingTest, InterruptsAreSuppressedWhileReaping) {
  RingFixture f(8, GetParam());
  const auto one = [&] {
    ASSERT_TRUE(f.driver.add({{RingFixture::kData, 1, true}}));
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

TEST_P(RingTest, GoesOnElsewhere) {
  RingFixture f(8, GetParam());
  for (int i = 0; i < 1000; ++i) {
    f.expect_works();
    f.queue =
        must(Ring::activate(f.memory, f.driver.config(), GetParam(), f.counters, f.queue.state()));
    if (::testing::Test::HasFailure()) FAIL() << "round " << i;
  }
}

TEST_P(RingTest, ChainsComeBackInAnyOrder) {
  RingFixture f(16, GetParam());
  std::array<DescriptorChain, 5> chains;
  std::array<std::uint16_t, 5> heads{};
  for (unsigned round = 0; round < 2000; ++round) {
    for (std::size_t i = 0; i < chains.size(); ++i) {
      const std::array<FakeDriver::Buffer, 3> buffers{{{RingFixture::kData, 16, false},
                                                       {RingFixture::kData, 32, false},
                                                       {RingFixture::kData, 64, true}}};
      heads[i] = f.driver.add(std::span(buffers).last(1 + (round + i) % 3)).value();
    }
    (void)f.driver.offer();
    for (auto& chain : chains) ASSERT_EQ(f.queue.pop(chain), Pop::kChain);
    ASSERT_EQ(f.queue.pop(f.chain), Pop::kEmpty);
    // In two batches, in an order that differs from round to round.
    const std::size_t step = 1 + round % 4;
    for (std::size_t i = 0; i < chains.size(); ++i) {
      const std::size_t which = (i * step + round) % chains.size();
      ASSERT_EQ(chains[which].head(), heads[which]);
      f.queue.complete(chains[which], static_cast<std::uint32_t>(which));
      if (i == 1 || i == 4) (void)f.queue.publish();
      if (i == 1) {
        ASSERT_EQ(f.driver.used_idx(), static_cast<std::uint16_t>(round * 5 + 2));
      }
    }
    for (std::size_t i = 0; i < chains.size(); ++i) {
      const std::size_t which = (i * step + round) % chains.size();
      const auto used = f.driver.reap();
      ASSERT_TRUE(used.has_value());
      ASSERT_EQ(used->id, heads[which]);
      ASSERT_EQ(used->length, which);
    }
    ASSERT_FALSE(f.driver.reap().has_value());
    ASSERT_EQ(f.driver.free_descriptors(), 16U);
  }
}

TEST_P(RingTest, TellsOfABatchOnceAndOnlyIfTheDriverWaitsForOneOfIt) {
  RingFixture f(8, GetParam());
  // Rounds of three requests in a ring of eight: the batches begin everywhere, and wrap.
  for (unsigned round = 0; round < 100; ++round) {
    const bool waits = round % 3 != 0;
    if (waits) {
      ASSERT_FALSE(f.driver.enable_interrupts());
    } else {
      f.driver.suppress_interrupts();
      if (!GetParam().packed && GetParam().event_idx) {
        f.driver.set_used_event(static_cast<std::uint16_t>(round * 3 - 1));
      }
    }
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(f.driver.add({{RingFixture::kData, 1, true}}));
    (void)f.driver.offer();
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(f.queue.pop(f.chain), Pop::kChain);
      f.queue.complete(f.chain, 0);
    }
    ASSERT_EQ(f.queue.publish(), waits) << "round " << round;
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(f.driver.reap());
  }
}

TEST_P(RingTest, IsKickedOnceForABatchAndOnlyIfItWaitsForOneOfIt) {
  RingFixture f(8, GetParam());
  for (unsigned round = 0; round < 100; ++round) {
    const bool waits = round % 3 != 2;
    if (waits) {
      ASSERT_FALSE(f.queue.enable_kicks());
    } else {
      f.queue.suppress_kicks();
    }
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(f.driver.add({{RingFixture::kData, 1, true}}));
    ASSERT_EQ(f.driver.offer(), waits) << "round " << round;
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(f.queue.pop(f.chain), Pop::kChain);
      f.queue.complete(f.chain, 0);
    }
    (void)f.queue.publish();
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(f.driver.reap());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Rings, RingTest,
    ::testing::Values(RingFeatures{false, false, false}, RingFeatures{true, false, false},
                      RingFeatures{false, true, false}, RingFeatures{true, true, false},
                      RingFeatures{false, false, true}, RingFeatures{true, false, true},
                      RingFeatures{false, true, true}, RingFeatures{true, true, true}),
    [](const auto& which) { return testing::ring_name(which.param); });

}  // namespace
}  // namespace bellhop
