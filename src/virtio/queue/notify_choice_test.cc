#include "virtio/queue/notify_choice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>

namespace bellhop {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

/// What a queue does in one mode: requests a second, and how many CPUs that takes.
struct Speed {
  double rate;
  double cpus = 1;
};
using Speeds = std::array<Speed, 3>;  // by NotifyMode

constexpr auto kSync = NotifyMode::kSync;
constexpr auto kIoEventFd = NotifyMode::kIoEventFd;
constexpr auto kPoll = NotifyMode::kPoll;

/// A queue with a clock of its own, and the choice made for it.
class Simulation {
 public:
  explicit Simulation(Optimize optimize = Optimize::kThroughput, double noise = 0,
                      unsigned seed = 1)
      : choice(optimize, kIoEventFd), noise_(1 - noise, 1 + noise), random_(seed) {}

  /// One slot with what `speeds` says of the mode, then the pause if the mode changes.
  void step(const Speeds& speeds) {
    const NotifyMode before = choice.mode();
    const NotifySample sample = run(speeds, choice.slot());
    if (choice.take(sample, true) == before) return;
    ++changes;
    run(speeds, NotifyChoice::kSettle);
  }
  void go(nanoseconds time, const std::function<Speeds(nanoseconds)>& speeds) {
    for (const nanoseconds end = now + time; now < end;) step(speeds(now));
  }
  void go(nanoseconds time, const Speeds& speeds) {
    go(time, [&](nanoseconds) { return speeds; });
  }

  NotifyChoice choice;
  nanoseconds now{0};
  double requests = 0;
  double cpu_s = 0;
  unsigned changes = 0;

 private:
  NotifySample run(const Speeds& speeds, nanoseconds time) {
    const Speed& speed = speeds[static_cast<std::size_t>(choice.mode())];
    const double seconds = static_cast<double>(time.count()) / 1e9;
    const double done = speed.rate * seconds * noise_(random_);
    now += time;
    requests += done;
    cpu_s += speed.cpus * seconds;
    return {.requests = static_cast<std::uint64_t>(done),
            .wall = time,
            .cpu = nanoseconds(static_cast<nanoseconds::rep>(speed.cpus * seconds * 1e9))};
  }

  std::uniform_real_distribution<double> noise_;
  std::mt19937 random_;
};

constexpr Speeds kSyncWins = {{{9000}, {5000}, {3000}}};
constexpr Speeds kEventWins = {{{4000}, {9000}, {7000}}};
constexpr Speeds kPollWins = {{{4000}, {6000}, {9000}}};

TEST(NotifyChoice, FindsTheFastestWithinASecond) {
  for (const auto& [speeds, best] :
       {std::pair{kSyncWins, kSync}, {kEventWins, kIoEventFd}, {kPollWins, kPoll}}) {
    Simulation simulation;
    simulation.go(700ms, speeds);
    EXPECT_EQ(simulation.choice.mode(), best);
    EXPECT_FALSE(simulation.choice.trying());
  }
}

TEST(NotifyChoice, LooksAtWhatTheUserWants) {
  // Two CPUs for half as much again.
  const Speeds speeds = {{{10000, 1}, {15000, 2}, {16000, 2}}};
  Simulation fast(Optimize::kThroughput);
  fast.go(1s, speeds);
  EXPECT_EQ(fast.choice.mode(), kPoll);
  Simulation frugal(Optimize::kEfficiency);
  frugal.go(1s, speeds);
  EXPECT_EQ(frugal.choice.mode(), kSync);
}

TEST(NotifyChoice, BetweenEqualsTheOtherObjectiveDecides) {
  // A guest that asks for so much and no more.
  const Speeds speeds = {{{10000, 0.4}, {10000, 0.6}, {10100, 2}}};
  Simulation simulation(Optimize::kThroughput);
  simulation.go(1s, speeds);
  EXPECT_EQ(simulation.choice.mode(), kSync);
}

TEST(NotifyChoice, LeavesAQueueWithLittleToDoAlone) {
  Simulation simulation;
  simulation.go(60s, Speeds{{{400}, {100}, {200}}});
  EXPECT_EQ(simulation.choice.mode(), kIoEventFd);
  EXPECT_EQ(simulation.changes, 0U);
}

TEST(NotifyChoice, TryingCostsLittleInTheLongRun) {
  for (const Speeds& speeds : {kSyncWins, kEventWins, kPollWins}) {
    Simulation simulation;
    simulation.go(1s, speeds);  // to find it the first time costs what it costs
    const double before = simulation.requests;
    const nanoseconds since = simulation.now;
    simulation.go(60s, speeds);
    const double seconds = static_cast<double>((simulation.now - since).count()) / 1e9;
    EXPECT_GT(simulation.requests - before, 0.98 * 9000 * seconds);
  }
}

TEST(NotifyChoice, EqualWaysAreNotChangedForNothing) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    Simulation simulation(Optimize::kThroughput, 0.1, seed);
    simulation.go(60s, Speeds{{{9000}, {9000}, {9000}}});
    // Some ten trials, of at most four changes a round and three rounds.
    EXPECT_LT(simulation.changes, 80U);
  }
}

TEST(NotifyChoice, NoiseOfATenthHidesNoMoreThanAFewPercent) {
  double worst = 1;
  for (unsigned seed = 1; seed <= 50; ++seed) {
    Simulation simulation(Optimize::kThroughput, 0.1, seed);
    simulation.go(60s, Speeds{{{8000}, {9000}, {8500}}});
    const double seconds = static_cast<double>(simulation.now.count()) / 1e9;
    worst = std::min(worst, simulation.requests / (9000 * seconds));
  }
  EXPECT_GT(worst, 0.93);
}

TEST(NotifyChoice, AnotherWorkloadIsTriedAtOnce) {
  Simulation simulation;
  simulation.go(60s, kPollWins);
  ASSERT_EQ(simulation.choice.mode(), kPoll);
  simulation.go(700ms, kSyncWins);  // poll: a third of what it was
  EXPECT_EQ(simulation.choice.mode(), kSync);
}

TEST(NotifyChoice, WhatIsBestIsFoundAfterAPauseToo) {
  Simulation simulation;
  simulation.go(2s, kPollWins);
  const unsigned changes = simulation.changes;
  simulation.go(10s, Speeds{});
  EXPECT_EQ(simulation.choice.mode(), kPoll);
  EXPECT_EQ(simulation.changes, changes);
  simulation.go(5s, kSyncWins);
  EXPECT_EQ(simulation.choice.mode(), kSync);
}

TEST(NotifyChoice, AQueueThatStopsInATrialKeepsWhatItHad) {
  Simulation simulation;
  while (!simulation.choice.trying() || simulation.choice.mode() == kIoEventFd) {
    simulation.step(kEventWins);
  }
  simulation.go(1s, Speeds{});
  EXPECT_FALSE(simulation.choice.trying());
  EXPECT_EQ(simulation.choice.mode(), kIoEventFd);
  // Nothing was found out: the next busy time begins with a trial.
  simulation.go(700ms, kPollWins);
  EXPECT_EQ(simulation.choice.mode(), kPoll);
}

TEST(NotifyChoice, FollowsAWorkloadThatFlipsEverySecond) {
  const auto flipping = [](nanoseconds now) {
    return now / 1s % 2 == 0 ? Speeds{{{9000}, {5000}, {5000}}} : Speeds{{{5000}, {9000}, {7000}}};
  };
  Simulation simulation;
  simulation.go(60s, flipping);
  const double seconds = static_cast<double>(simulation.now.count()) / 1e9;
  EXPECT_GT(simulation.requests / (9000 * seconds), 0.8);
}

NotifySample busy(const NotifyChoice& choice) {
  return {.requests = 1000, .wall = choice.slot(), .cpu = choice.slot()};
}

TEST(NotifyChoice, AModeThatCannotBeHadIsLeftOut) {
  // A host without ioeventfds: sync and poll are what there is, and poll is the better one.
  NotifyChoice choice(Optimize::kThroughput, kSync);
  NotifyMode mode = kSync;
  unsigned refusals = 0;
  for (int slot = 0; slot < 100; ++slot) {
    NotifySample sample = busy(choice);
    if (mode == kPoll) sample.requests *= 2;
    NotifyMode next = choice.take(sample, true);
    while (next == kIoEventFd) {
      ++refusals;
      next = choice.refused(mode);
    }
    mode = next;
  }
  EXPECT_EQ(mode, kPoll);
  EXPECT_GT(refusals, 0U);
  EXPECT_LT(refusals, 5U) << "asked for again in each trial";
}

TEST(NotifyChoice, WhereNothingElseCanBeHadTheTrialEnds) {
  NotifyChoice choice(Optimize::kThroughput, kIoEventFd);
  unsigned refusals = 0;
  nanoseconds time{0};
  while (time < 1s) {
    time += choice.slot();
    if (choice.take(busy(choice), true) == kIoEventFd) continue;
    ++refusals;
    EXPECT_EQ(choice.refused(kIoEventFd), kIoEventFd);
  }
  EXPECT_EQ(refusals, 2U) << "one for each of the others, and not at once again";
  EXPECT_FALSE(choice.trying());
}

TEST(NotifyChoice, WhoCannotGoBackStaysWhereItIs) {
  NotifyChoice choice(Optimize::kThroughput, kIoEventFd);
  NotifyMode mode = kIoEventFd;
  // Up to the last slot of the first trial, which is to be what the first was.
  for (NotifyMode next = mode;; mode = next) {
    next = choice.take(busy(choice), true);
    if (mode != kIoEventFd && next == kIoEventFd) break;
  }
  EXPECT_EQ(choice.refused(mode), mode);
  EXPECT_FALSE(choice.trying());
  EXPECT_EQ(choice.mode(), mode);
}

TEST(NotifyChoice, WaitsWhileAnotherQueueIsTried) {
  NotifyChoice choice(Optimize::kThroughput, kIoEventFd);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(choice.take({.requests = 1000, .wall = choice.slot(), .cpu = choice.slot()}, false),
              kIoEventFd);
    EXPECT_FALSE(choice.trying());
    ASSERT_GE(choice.slot(), 10ms) << "whoever measures would do nothing else";
  }
}

}  // namespace
}  // namespace bellhop
