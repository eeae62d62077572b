#include "virtio/queue/notify_choice.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>

namespace bellhop {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

/// What a queue does in one mode: requests a second, how many CPUs that takes, and how many
/// requests are outstanding in the mean.
struct Speed {
  double rate;
  double cpus = 1;
  double outstanding = 1;
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
  double latency_s = 0;  ///< of all requests together
  unsigned changes = 0;
  bool can_look = true;

 private:
  NotifySample run(const Speeds& speeds, nanoseconds time) {
    const Speed& speed = speeds[static_cast<std::size_t>(choice.mode())];
    const double seconds = static_cast<double>(time.count()) / 1e9;
    const double done = speed.rate * seconds * noise_(random_);
    now += time;
    requests += done;
    cpu_s += speed.cpus * seconds;
    latency_s += speed.outstanding * seconds;
    NotifySample sample{
        .requests = static_cast<std::uint64_t>(done),
        .wall = time,
        .cpu = nanoseconds(static_cast<nanoseconds::rep>(speed.cpus * seconds * 1e9))};
    // As NotifyTuner looks: some ten thousand times a second, at random moments.
    if (!choice.looks() || !can_look) return sample;
    const auto most = static_cast<std::uint64_t>(std::ceil(speed.outstanding));
    std::binomial_distribution<std::uint64_t> look(
        most, speed.outstanding / static_cast<double>(std::max<std::uint64_t>(most, 1)));
    sample.looks = static_cast<std::uint64_t>(seconds * 8000);
    for (std::uint64_t i = 0; i < sample.looks; ++i) sample.outstanding += look(random_);
    return sample;
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

// An idle machine is not to be woken twenty times a second; one that begins to work is seen soon.
TEST(NotifyChoice, AQueueWithoutRequestsIsLookedAtMoreAndMoreSeldom) {
  NotifyChoice choice(Optimize::kThroughput, kIoEventFd);
  nanoseconds idle{0};
  unsigned looks = 0;
  for (; idle < 60s; ++looks) {
    EXPECT_LE(choice.slot(), std::min<nanoseconds>(50ms + idle / 8, 800ms));
    idle += choice.slot();
    choice.take({.requests = 0, .wall = choice.slot()}, true);
  }
  EXPECT_LT(looks, 100U);
  EXPECT_EQ(choice.slot(), 800ms);
  choice.take({.requests = 1, .wall = choice.slot()}, true);
  EXPECT_EQ(choice.slot(), 50ms) << "there is somebody";
  Simulation simulation;
  simulation.go(10s, Speeds{});
  simulation.go(1600ms, kSyncWins);
  EXPECT_EQ(simulation.choice.mode(), kSync);
  EXPECT_FALSE(simulation.choice.trying());
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

// A guest with sixteen threads. With sync each request is done before the next one is offered: it
// waits for nobody. The others have it wait for a batch, and have more done in all.
constexpr Speeds kSyncIsQuick = {{{30000, 1, 0.5}, {100000, 2, 12}, {110000, 2, 14}}};

TEST(NotifyChoice, TheLeastLatencyIsNotTheMostThroughput) {
  Simulation fast(Optimize::kThroughput);
  fast.go(1s, kSyncIsQuick);
  EXPECT_EQ(fast.choice.mode(), kPoll);
  Simulation quick(Optimize::kLatency);
  quick.go(1s, kSyncIsQuick);
  EXPECT_EQ(quick.choice.mode(), kSync);
  // And where as many are outstanding, less is done: a request takes longer.
  Simulation deep(Optimize::kLatency);
  deep.go(1s, Speeds{{{30000, 1, 15}, {100000, 2, 15}, {110000, 2, 16}}});
  EXPECT_NE(deep.choice.mode(), kSync);
}

TEST(NotifyChoice, AGuestThatAsksForSoMuchHasItsAnswersSooner) {
  // The same throughput in all ways, so that it tells nothing; 40, 25 and 15 us a request.
  const Speeds speeds = {{{10000, 0.5, 0.4}, {10000, 0.6, 0.25}, {10000, 1.5, 0.15}}};
  for (unsigned seed = 1; seed <= 20; ++seed) {
    Simulation quick(Optimize::kLatency, 0.02, seed);
    quick.go(1s, speeds);
    EXPECT_EQ(quick.choice.mode(), kPoll) << seed;
    const double before = quick.latency_s;
    const double requests = quick.requests;
    quick.go(30s, speeds);
    EXPECT_LT((quick.latency_s - before) / (quick.requests - requests), 15.6e-6) << seed;
  }
}

TEST(NotifyChoice, BetweenEqualLatenciesTheCpuTimeDecides) {
  Simulation simulation(Optimize::kLatency);
  simulation.go(1s, Speeds{{{10000, 1.5, 8}, {10000, 0.9, 8}, {10000, 2, 8}}});
  EXPECT_EQ(simulation.choice.mode(), kIoEventFd);
}

TEST(NotifyChoice, ChanceIsNotTakenForALatency) {
  // Looks seldom meet a request of either, so that their counts differ by chance alone; sync has
  // the same for half of the CPU time.
  const Speeds speeds = {{{5000, 0.5, 0.02}, {5000, 0.7, 0.3}, {5000, 1, 0.02}}};
  for (unsigned seed = 1; seed <= 30; ++seed) {
    Simulation simulation(Optimize::kLatency, 0, seed);
    simulation.go(2s, speeds);
    EXPECT_EQ(simulation.choice.mode(), kSync) << seed;
  }
}

TEST(NotifyChoice, LooksAtRequestsOutstandingOnlyInATrialForLatency) {
  for (const Optimize optimize : kObjectives) {
    Simulation simulation(optimize);
    bool tried = false;
    bool looked = false;
    simulation.go(2s, [&](nanoseconds) {
      tried |= simulation.choice.trying();
      looked |= simulation.choice.looks();
      EXPECT_LE(simulation.choice.looks(), simulation.choice.trying());
      return kSyncIsQuick;
    });
    EXPECT_TRUE(tried);
    EXPECT_EQ(looked, optimize == Optimize::kLatency);
  }
}

TEST(NotifyChoice, WhereNoneCanBeSeenMoreThroughputIsTakenForLessLatency) {
  Simulation simulation(Optimize::kLatency);
  simulation.can_look = false;
  simulation.go(1s, kSyncIsQuick);
  EXPECT_EQ(simulation.choice.mode(), kPoll);
}

TEST(NotifyChoice, NoneSeenOutstandingIsTheLeastLatency) {
  // So short that no look meets one.
  Simulation simulation(Optimize::kLatency);
  simulation.go(1s, Speeds{{{10000, 1, 0}, {11000, 1, 0.3}, {12000, 1, 0.4}}});
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
    EXPECT_GT(simulation.requests - before, 0.995 * 9000 * seconds);
  }
}

/// What part of `rate` the queue has in the next `time`.
double part_of(Simulation& simulation, double rate, nanoseconds time, const Speeds& speeds) {
  const double before = simulation.requests;
  const nanoseconds since = simulation.now;
  simulation.go(time, speeds);
  return (simulation.requests - before) /
         (rate * static_cast<double>((simulation.now - since).count()) / 1e9);
}

TEST(NotifyChoice, TheSecondThatHasAConfirmingTrialInItLosesLessThanAHundredth) {
  for (const double noise : {0.0, 0.05, 0.1}) {
    for (const Speeds& speeds : {kSyncWins, kEventWins, kPollWins}) {
      double sum = 0;
      constexpr unsigned kSeeds = 20;
      for (unsigned seed = 1; seed <= kSeeds; ++seed) {
        Simulation simulation(Optimize::kThroughput, noise, seed);
        simulation.go(1s, speeds);
        EXPECT_FALSE(simulation.choice.trying());
        const unsigned changes = simulation.changes;
        sum += part_of(simulation, 9000, 1s, speeds);
        EXPECT_GT(simulation.changes, changes) << "there was none";
      }
      EXPECT_GT(sum / kSeeds, 0.99) << noise;
    }
  }
}

TEST(NotifyChoice, WhatIsFarBehindIsNotMeasuredToTheEnd) {
  // Four and a half times as fast: so is what the queue had before the trial, ioeventfd.
  constexpr Speeds speeds = {{{148000}, {33000}, {33000}}};
  Simulation simulation;
  while (!simulation.choice.trying()) simulation.step(speeds);
  nanoseconds behind{0};
  while (simulation.choice.trying()) {
    const nanoseconds before = simulation.now;
    const NotifyMode mode = simulation.choice.mode();
    simulation.step(speeds);
    if (mode != kSync) behind += simulation.now - before;
  }
  // One slot of what was there, and a part of one of the other.
  EXPECT_LE(behind, 25ms + 10ms + 2 * NotifyChoice::kSettle);
  EXPECT_EQ(simulation.choice.mode(), kSync);
}

TEST(NotifyChoice, WhatIsFarBehindIsTriedLessAndLess) {
  Simulation simulation;
  unsigned trials = 0;
  unsigned with_sync = 0;
  for (bool in_trial = false, seen = false; simulation.now < 300s;) {
    simulation.step(kEventWins);
    seen |= simulation.choice.mode() == kSync;
    if (in_trial && !simulation.choice.trying()) {
      ++trials;
      with_sync += seen ? 1U : 0U;
      seen = false;
    }
    in_trial = simulation.choice.trying();
  }
  EXPECT_GE(trials, 12U);
  EXPECT_GE(with_sync, 3U);
  EXPECT_LT(with_sync, trials / 2);
}

TEST(NotifyChoice, FindsWhatHasBecomeBetterThoughTheRateDoesNotTell) {
  // ioeventfd stays as it is; another way comes to be better than it.
  Simulation near;
  near.go(100s, kEventWins);
  ASSERT_EQ(near.choice.mode(), kIoEventFd);
  near.go(32s, Speeds{{{4000}, {9000}, {12000}}});
  EXPECT_EQ(near.choice.mode(), kPoll) << "by the next trial";
  // What was far behind is tried in every fourth.
  Simulation far;
  far.go(100s, kEventWins);
  far.go(130s, Speeds{{{12000}, {9000}, {7000}}});
  EXPECT_EQ(far.choice.mode(), kSync);
}

TEST(NotifyChoice, ADriftOfTheHostIsNotTakenForADifference) {
  // Within a third of a second it has a third more for all, or less.
  const auto drifting = [](nanoseconds now) {
    const double seconds = static_cast<double>(now.count()) / 1e9;
    const double factor = 1 + 0.25 * std::sin(2 * 3.14159265 * seconds / 0.7);
    Speeds speeds = {{{7000}, {9000}, {6000}}};
    for (Speed& one : speeds) one.rate *= factor;
    return speeds;
  };
  double worst = 1;
  for (unsigned seed = 1; seed <= 20; ++seed) {
    Simulation simulation(Optimize::kThroughput, 0.05, seed);
    simulation.go(seed * 30ms, Speeds{});  // it begins elsewhere in the wave
    const nanoseconds since = simulation.now;
    simulation.go(60s, drifting);
    const double seconds = static_cast<double>((simulation.now - since).count()) / 1e9;
    worst = std::min(worst, simulation.requests / (9000 * seconds));
  }
  EXPECT_GT(worst, 0.96);
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

TEST(NotifyChoice, AShortRestInATrialEndsNothing) {
  constexpr Speeds speeds = {{{40000}, {60000}, {90000}}};
  Simulation simulation;
  while (!simulation.choice.trying() || simulation.choice.mode() == kIoEventFd) {
    simulation.step(speeds);
  }
  const NotifyMode mode = simulation.choice.mode();
  simulation.step(Speeds{});
  EXPECT_TRUE(simulation.choice.trying());
  EXPECT_EQ(simulation.choice.mode(), mode);
  simulation.go(700ms, speeds);
  EXPECT_EQ(simulation.choice.mode(), kPoll);
}

TEST(NotifyChoice, FollowsAWorkloadThatFlipsEverySecond) {
  const auto flipping = [](nanoseconds now) {
    return now / 1s % 2 == 0 ? Speeds{{{9000}, {5000}, {5000}}} : Speeds{{{5000}, {9000}, {7000}}};
  };
  for (const double noise : {0.0, 0.05, 0.1}) {
    double sum = 0;
    constexpr unsigned kSeeds = 10;
    for (unsigned seed = 1; seed <= kSeeds; ++seed) {
      Simulation simulation(Optimize::kThroughput, noise, seed);
      simulation.go(60s, flipping);
      const double seconds = static_cast<double>(simulation.now.count()) / 1e9;
      sum += simulation.requests / (9000 * seconds);
    }
    EXPECT_GT(sum / kSeeds, 0.87) << noise;  // of an oracle
  }
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
