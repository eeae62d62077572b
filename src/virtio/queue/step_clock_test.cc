#include "virtio/queue/step_clock.h"

#include <gtest/gtest.h>

#include <numeric>

namespace bellhop {
namespace {

constexpr std::uint64_t kReading = 300;
std::uint64_t fake_now = 0;
std::uint64_t fake_readings = 0;

/// Takes its time, as a system call does.
std::uint64_t read_clock() noexcept {
  ++fake_readings;
  return fake_now += kReading;
}

class StepClockTest : public ::testing::Test {
 protected:
  void SetUp() override { fake_now = fake_readings = 0; }

  /// A cycle of work: 1000, 2000 and 500 ns in three steps. Returns whether it was clocked.
  bool work() {
    clock.begin(account, 1);
    const bool clocked = clock.clocked();
    fake_now += 1000;
    clock.go(account, 2);
    fake_now += 1500;
    clock.go(account, 2);  // the same again
    fake_now += 500;
    clock.go(account, 3);
    fake_now += 500;
    return clocked;
  }

  StepClock clock{&read_clock};
  StepCpu account;
};

TEST_F(StepClockTest, EachStepGetsWhatItTookWithoutTheReadings) {
  unsigned cycles = 0;
  while (work()) ++cycles;
  ASSERT_GT(cycles, 1U);
  EXPECT_EQ(account.ns[1], 1000 * cycles);
  EXPECT_EQ(account.ns[2], 2000 * cycles);
  EXPECT_EQ(account.ns[3], 500 * cycles);
  EXPECT_EQ(clock.reading_ns(), kReading);
}

TEST_F(StepClockTest, ReadingTakesLessThanItsPart) {
  for (int i = 0; i < 200; ++i) (void)work();  // the calibration, and what it settles at
  const std::uint64_t before = fake_readings;
  constexpr std::uint64_t kCycles = 200'000;
  std::uint64_t clocked = 0;
  for (std::uint64_t i = 0; i < kCycles; ++i) clocked += work() ? 1U : 0U;
  const std::uint64_t spent = (fake_readings - before) * kReading;
  EXPECT_LE(spent * StepClock::kMostPart, kCycles * 3500 * 11 / 10);
  EXPECT_GE(spent * StepClock::kMostPart, kCycles * 3500 / 2) << "and it is worth something";
  EXPECT_GT(clocked, 1000U);
}

TEST_F(StepClockTest, NoReadingWhileNothingIsClocked) {
  while (work()) {
  }
  const std::uint64_t before = fake_readings;
  EXPECT_FALSE(work());
  clock.leave();
  EXPECT_EQ(fake_readings, before);
}

TEST_F(StepClockTest, WhatFollowsALeaveIsNobodys) {
  StepCpu other;
  clock.begin(account, 1);
  fake_now += 1000;
  clock.leave();
  fake_now += 50'000;
  clock.go(other, 4);
  fake_now += 700;
  clock.begin(account, 1);  // the other's step ends here
  EXPECT_EQ(account.ns[1], 1000);
  EXPECT_EQ(other.ns[4], 700);
  EXPECT_EQ(std::accumulate(account.ns.begin(), account.ns.end(), std::int64_t{0}), 1000);
}

TEST_F(StepClockTest, AnAccountThatIsGoneIsNotCharged) {
  {
    StepCpu brief;
    clock.begin(brief, 1);
    clock.forget(brief);
    fake_now += 1000;
    clock.go(account, 2);
    EXPECT_EQ(brief.ns[1], 0);
  }
  fake_now += 100;
  clock.leave();
  EXPECT_EQ(account.ns[2], 100);
}

/// Work of no length at all must not stop it for good, nor divide by nothing.
TEST_F(StepClockTest, StepsOfNoLengthAreClockedAgainSomeTime) {
  unsigned bursts = 0;
  bool before = false;
  for (unsigned i = 0; i < 400'000; ++i) {
    clock.begin(account, i % 2);
    if (clock.clocked() && !before) ++bursts;
    before = clock.clocked();
  }
  EXPECT_GT(bursts, 2U);
  EXPECT_EQ(account.ns[0], 0);
}

TEST(StepClock, TheKernelsClockIsTheThreads) {
  const std::uint64_t before = StepClock::read_thread_clock();
  std::uint64_t after = before;
  while (after - before < 1'000'000) after = StepClock::read_thread_clock();
  EXPECT_LT(after - before, 1'000'000'000U);
  EXPECT_EQ(&StepClock::of_this_thread(), &StepClock::of_this_thread());
}

}  // namespace
}  // namespace bellhop
