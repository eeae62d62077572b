#include "base/rate_group.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

namespace bellhop {
namespace {

using namespace std::chrono_literals;
using Clock = Throttle::Clock;

/// A clock that goes on when a taker has nothing to do before a later time.
class SharedClock {
 public:
  [[nodiscard]] Clock::time_point now() const {
    return Clock::time_point(std::chrono::nanoseconds(now_.load()));
  }
  void go_on_to(Clock::time_point time) {
    const std::int64_t to = time.time_since_epoch().count();
    std::int64_t was = now_.load();
    while (was < to && !now_.compare_exchange_weak(was, to)) {
    }
  }

 private:
  std::atomic<std::int64_t> now_{std::chrono::nanoseconds(1h).count()};
};

struct Gone {
  std::uint64_t units = 0;
  std::uint64_t bytes = 0;
};

/// What `takers` threads get of a throttle in `time`, each of which always has more. Taker i takes
/// 4 KiB times i + 1.
Gone gone_in(Throttle& throttle, std::chrono::seconds time, unsigned takers) {
  SharedClock clock;
  const auto end = clock.now() + time;
  std::atomic<std::uint64_t> units{0};
  std::atomic<std::uint64_t> bytes{0};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < takers; ++i) {
    threads.emplace_back([&, size = 4096 * std::uint64_t{i + 1}] {
      for (auto now = clock.now(); now < end; now = clock.now()) {
        if (throttle.take_if_due(now, 1, size)) {
          units += 1;
          bytes += size;
        } else if (const auto wait = throttle.wait(now); wait > 0ns) {
          clock.go_on_to(now + wait);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return {units, bytes};
}

constexpr auto kTime = 4s;
constexpr double kSeconds = 4;

TEST(RateGroupTest, ManyTakersTogetherGetTheRateOfOne) {
  for (const std::uint64_t rate : {100U, 1000U, 33'333U}) {
    for (const unsigned takers : {1U, 2U, 4U}) {
      RateGroup group("g", {.units = rate, .bytes = 0, .burst = 1ms});
      const Gone gone = gone_in(group.throttle, kTime, takers);
      const double most = (kSeconds + 0.001) * static_cast<double>(rate) + 1;
      EXPECT_LE(static_cast<double>(gone.units), most * 1.001) << rate << " " << takers;
      EXPECT_GE(static_cast<double>(gone.units), kSeconds * static_cast<double>(rate) * 0.98);
    }
  }
}

TEST(RateGroupTest, BytesAreSharedWhateverTheirSizes) {
  constexpr std::uint64_t kRate = 64 << 20;
  RateGroup group("g", {.units = 0, .bytes = kRate, .burst = 1ms});
  const auto gone = static_cast<double>(gone_in(group.throttle, kTime, 4).bytes);
  EXPECT_NEAR(gone / (kSeconds * kRate), 1.0, 0.02);
}

// The bytes are the narrower of the two: units that had to be put back have not gone.
TEST(RateGroupTest, WhatOneRateRefusesTheOtherHasNotLost) {
  RateGroup group("g", {.units = 600, .bytes = 500 * 4096, .burst = 10ms});
  const Gone gone = gone_in(group.throttle, kTime, 1);
  EXPECT_NEAR(static_cast<double>(gone.units) / (kSeconds * 500), 1.0, 0.02);
  RateGroup other("g", {.units = 500, .bytes = 600 * 4096, .burst = 10ms});
  EXPECT_NEAR(static_cast<double>(gone_in(other.throttle, kTime, 1).units) / (kSeconds * 500), 1.0,
              0.02);
}

TEST(RateGroupTest, AtOneMomentTakersShareWhatIsLeft) {
  RateGroup group("g", {.units = 1000, .bytes = 0, .burst = 10ms});
  const Clock::time_point now(1h);
  std::array<unsigned, 4> got{};
  std::vector<std::thread> threads;
  threads.reserve(got.size());
  for (unsigned& mine : got) {
    threads.emplace_back([&] {
      while (group.throttle.take_if_due(now, 1, 0)) ++mine;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(std::accumulate(got.begin(), got.end(), 0U), 11U);
}

TEST(RateGroupTest, IsFoundByItsName) {
  RateGroups groups;
  groups.push_back(std::make_unique<RateGroup>("a", Rates{.units = 1}));
  groups.push_back(std::make_unique<RateGroup>("b", Rates{.units = 2}));
  EXPECT_EQ(find_throttle(&groups, "b"), &groups[1]->throttle);
  EXPECT_EQ(find_throttle(&groups, "c"), nullptr);
  EXPECT_EQ(find_throttle(&groups, ""), nullptr);
  EXPECT_EQ(find_throttle(nullptr, "a"), nullptr);
}

}  // namespace
}  // namespace bellhop
