#include "base/rate_limit.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>
#include <vector>

namespace bellhop {
namespace {

using namespace std::chrono_literals;
using Clock = RateLimit::Clock;

/// How many go in four seconds of a taker who always has more, and wakes late by up to `late`.
std::uint64_t gone_in_four_seconds(RateLimit& limit, std::uint64_t amount,
                                   std::chrono::nanoseconds late) {
  std::mt19937 random(7);
  Clock::time_point now(1h);
  const auto end = now + 4s;
  std::uint64_t gone = 0;
  while (now < end) {
    if (const auto wait = limit.wait(now); wait > 0ns) {
      now += wait + std::chrono::nanoseconds(random() % static_cast<unsigned>(late.count() + 1));
      continue;
    }
    limit.take(now, amount);
    gone += amount;
  }
  return gone;
}

TEST(RateLimitTest, IsExactHoweverLateItsTakerWakes) {
  for (const std::uint64_t rate : {100U, 333U, 1000U, 9999U, 100'000U, 1'000'000U}) {
    for (const auto late : {0us, 100us, 5000us}) {
      RateLimit limit(rate);
      const auto gone = static_cast<double>(gone_in_four_seconds(limit, 1, late));
      EXPECT_NEAR(gone / (4.0 * static_cast<double>(rate)), 1.0, 0.005)
          << rate << " " << late.count();
    }
  }
}

TEST(RateLimitTest, BytesGoByTheirNumber) {
  constexpr std::uint64_t kRate = 100 << 20;
  for (const std::uint64_t size : {512U, 4096U, 1U << 20U, 3U << 20U}) {
    RateLimit limit(kRate);
    const auto gone = static_cast<double>(gone_in_four_seconds(limit, size, 1ms));
    EXPECT_NEAR(gone / (4.0 * kRate), 1.0, 0.01) << size;
  }
}

TEST(RateLimitTest, WhoHasRestedMayHaveTheBurstAndNoMore) {
  RateLimit limit(1000, 10ms);
  for (const auto rest : {1ms, 1000ms, 3600000ms}) {
    const Clock::time_point now = Clock::time_point(1h) + rest;
    unsigned at_once = 0;
    while (limit.wait(now) <= 0ns) {
      limit.take(now, 1);
      ++at_once;
    }
    EXPECT_LE(at_once, 11U);
  }
  EXPECT_GT(limit.wait(Clock::time_point(2h)), 0ns);
  EXPECT_LE(limit.wait(Clock::time_point(2h)), 1ms);
}

TEST(RateLimitTest, WhatIsLargerThanTheBurstGoesAndIsPaidForLater) {
  RateLimit limit(1000, 1ms);
  const Clock::time_point now(1h);
  ASSERT_LE(limit.wait(now), 0ns);
  limit.take(now, 5000);
  EXPECT_EQ(limit.wait(now), 5s - 1ms);
  EXPECT_LE(limit.wait(now + 5s), 0ns);
}

TEST(RateLimitTest, TakersOnSeveralThreadsLoseNothing) {
  RateLimit limit(1'000'000, 0ns);
  const Clock::time_point now(1h);
  std::vector<std::thread> takers;
  takers.reserve(4);
  for (int i = 0; i < 4; ++i) {
    takers.emplace_back([&] {
      for (int j = 0; j < 25'000; ++j) limit.take(now, 1);
    });
  }
  for (std::thread& taker : takers) taker.join();
  EXPECT_EQ(limit.wait(now), 100ms);
}

}  // namespace
}  // namespace bellhop
