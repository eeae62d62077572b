#include "bench/study/study_analysis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "bench/study/study_findings.h"
#include "bench/study/study_fixture.h"

namespace bellhop::bench {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Goal = AgainstBest::Goal;

TEST(AdaptiveAgainstBest, TakesTheFixedWayThatIsBestByTheObjective) {
  StudyRows rows;
  const Spot spot = spot_at(Placement::kOtherCore, 16);
  rows.add(spot, kSync, 100, 100).add(spot, kEvent, 200, 80).add(spot, kPoll, 250, 40);
  rows.add(spot, kFast, 245, 41).add(spot, kThrifty, 100, 70);
  const auto fast = adaptive_against_best(rows.report(), Optimize::kThroughput);
  ASSERT_THAT(fast, SizeIs(1));
  EXPECT_EQ(fast[0].best, kPoll);
  EXPECT_NEAR(fast[0].best_value, 250, 1e-3);
  EXPECT_NEAR(fast[0].ratio.value, 0.98, 1e-6);
  EXPECT_EQ(fast[0].goal(), Goal::kReached) << "within 5 %, though below";
  const auto thrifty = adaptive_against_best(rows.report(), Optimize::kEfficiency);
  ASSERT_THAT(thrifty, SizeIs(1));
  EXPECT_EQ(thrifty[0].best, kSync);
  EXPECT_NEAR(thrifty[0].adaptive_value, 70e6, 1e3);
  EXPECT_NEAR(thrifty[0].ratio.value, 0.7, 1e-6);
  EXPECT_EQ(thrifty[0].goal(), Goal::kMissed);
}

TEST(AdaptiveAgainstBest, MissesForSureOnlyWhereTheIntervalSaysSo) {
  const auto goal_of = [](double adaptive, double spread, bool disturbed, unsigned repeats = 7) {
    StudyRows rows(repeats);
    const Spot spot = spot_at(Placement::kBusy, 1);
    rows.add(spot, kSync, 100, 100, spread, disturbed).add(spot, kFast, adaptive, 90, spread);
    return adaptive_against_best(rows.report(), Optimize::kThroughput).at(0).goal();
  };
  EXPECT_EQ(goal_of(90, 0.01, false), Goal::kMissed);
  EXPECT_EQ(goal_of(90, 0.15, false), Goal::kMayMiss);
  EXPECT_EQ(goal_of(90, 0, false, 1), Goal::kMayMiss) << "a single repeat has no interval";
  EXPECT_EQ(goal_of(96, 0, false, 1), Goal::kReached);
  EXPECT_EQ(goal_of(90, 0.01, true), Goal::kUnknown);
  StudyRows alone;
  alone.add(spot_at(Placement::kFree, 1), kFast, 100, 100);
  EXPECT_THAT(adaptive_against_best(alone.report(), Optimize::kThroughput), IsEmpty());
}

TEST(AdaptiveAgainstBest, ByLatencyTheShortestIsTheBest) {
  StudyRows rows;
  const Spot spot = spot_at(Placement::kOtherCore, 16);
  const auto add = [&](const Way& way, double speed, double latency_us) {
    rows.add(spot, way, speed, speed, 0.01, false, latency_us);
  };
  add(kSync, 100, 40);
  add(kEvent, 200, 100);
  add(kPoll, 250, 80);
  EXPECT_THAT(objectives_of(rows.report()),
              ElementsAre(Optimize::kThroughput, Optimize::kEfficiency));
  add(kQuick, 110, 50);
  EXPECT_THAT(objectives_of(rows.report()),
              ElementsAre(Optimize::kThroughput, Optimize::kEfficiency, Optimize::kLatency));
  const auto quick = adaptive_against_best(rows.report(), Optimize::kLatency);
  ASSERT_THAT(quick, SizeIs(1));
  EXPECT_EQ(quick[0].best, kSync);
  EXPECT_NEAR(quick[0].best_value, 1e6 / 40, 1e-3);
  EXPECT_NEAR(quick[0].ratio.value, 0.8, 1e-6);
  EXPECT_EQ(quick[0].goal(), Goal::kMissed);
  const auto findings = find_in(rows.report());
  EXPECT_THAT(findings, ::testing::Contains(
                            "By quickness (one by the median latency), of 1 cell the best fixed "
                            "way is sync in 1 (2.00 times the next)."));
  EXPECT_THAT(findings, ::testing::Contains(
                            "Adaptive for latency is within 5 % of the best fixed way in 0 of 1 "
                            "cell (1 surely below, 0 perhaps) and has 0.80 of its quickness (one "
                            "by the median latency) in the mean; over the whole it has 0.80 times "
                            "sync's, 2.00 times ioeventfd's and 1.60 times poll's (geometric "
                            "means)."));
}

TEST(OverTheWhole, IsTheGeometricMeanBesideEachFixedWay) {
  StudyRows rows;
  rows.add_all(spot_at(Placement::kOtherCore, 1), 50, 100, 100, 100);
  rows.add_all(spot_at(Placement::kOtherCore, 16), 100, 400, 100, 400);
  rows.add_all(spot_at(Placement::kBusy, 1), 100, 50, 25, 100);
  const auto whole = over_the_whole(rows.report(), Optimize::kThroughput);
  ASSERT_THAT(whole, SizeIs(4));
  EXPECT_EQ(whole[0].beside, kSync);  // 2, 4 and 1
  EXPECT_NEAR(whole[0].mean, 2, 1e-6);
  EXPECT_NEAR(whole[0].least, 1, 1e-6);
  EXPECT_NEAR(whole[0].most, 4, 1e-6);
  EXPECT_EQ(whole[0].ahead, 2U);
  EXPECT_EQ(whole[0].behind, 0U);
  EXPECT_EQ(whole[2].beside, kPoll);  // 1, 4 and 4
  EXPECT_NEAR(whole[2].mean, std::cbrt(16), 1e-6);
  EXPECT_EQ(whole[3].beside, std::nullopt);
  EXPECT_EQ(whole[3].cells, 3U);
  EXPECT_NEAR(whole[3].mean, 1, 1e-6);
}

/// A ratio that is above 1, below it or neither; 2 was disturbed.
Step step(const char* name, int side) {
  using Verdict = Ratio::Verdict;
  if (side == 2) return {name, {0, std::nullopt, Verdict::kRefused}};
  if (side > 0) return {name, {2, Interval{1.9, 2.1}, Verdict::kAbove}};
  if (side < 0) return {name, {0.5, Interval{0.4, 0.6}, Verdict::kBelow}};
  return {name, {1, Interval{0.9, 1.1}, Verdict::kWithinNoise}};
}

std::string line(int first, int second, int third) {
  return describe_crossover(
      "ioeventfd", "sync",
      {step("1 thread", first), step("8 threads", second), step("16 threads", third)});
}

TEST(Crossover, SaysFromWhereOn) {
  EXPECT_EQ(line(-1, 1, 1), "from 8 threads on ioeventfd beats sync; below that it is the reverse");
  EXPECT_EQ(line(-1, -1, 1),
            "from 16 threads on ioeventfd beats sync; below that it is the reverse");
  EXPECT_EQ(line(1, -1, -1),
            "from 8 threads on sync beats ioeventfd; below that it is the reverse");
  EXPECT_EQ(line(0, 0, 1),
            "from 16 threads on ioeventfd beats sync; below that they are within noise");
  EXPECT_EQ(line(-1, 0, 1), "from 16 threads on ioeventfd beats sync; below that it varies");
  EXPECT_EQ(line(-1, -1, 0),
            "up to 8 threads sync beats ioeventfd; above that they are within noise");
}

TEST(Crossover, SaysWhereThereIsNone) {
  EXPECT_EQ(line(1, 1, 1), "ioeventfd beats sync from 1 thread to 16 threads");
  EXPECT_EQ(line(-1, -1, -1), "sync beats ioeventfd from 1 thread to 16 threads");
  EXPECT_EQ(line(0, 0, 0),
            "ioeventfd and sync are within noise of each other from 1 thread to 16 threads");
  EXPECT_EQ(line(0, 1, 0), "between ioeventfd and sync there is no line: it varies");
  EXPECT_EQ(line(1, -1, 0), "between ioeventfd and sync there is no line: it varies");
}

TEST(Crossover, LeavesOutWhatWasDisturbed) {
  EXPECT_EQ(line(-1, 2, 1),
            "from 16 threads on ioeventfd beats sync; below that it is the reverse");
  EXPECT_EQ(line(2, 2, 1), "") << "one place makes no line";
}

TEST(Crossovers, RunAlongThreadsAndLatency) {
  StudyRows rows;
  for (const Placement placement : {Placement::kFree, Placement::kOtherCore}) {
    rows.add_all(spot_at(placement, 16), 100, 300, 100, 300);
    rows.add_all(spot_at(placement, 1), 100, 50, 50, 100);
  }
  rows.add_all(spot_at(Placement::kOtherCore, 16, "null 1 ms"), 100, 200, 200, 200);
  rows.add_all(spot_at(Placement::kOtherCore, 16, "null 0 us"), 100, 80, 80, 100);
  rows.add_all(spot_at(Placement::kOtherCore, 16, "null 50 us"), 100, 150, 150, 150);
  const auto all = find_crossovers(rows.report());
  const auto find = [&all](Optimize objective, const char* along, const std::string& start) {
    std::vector<std::string> found;
    for (const Crossover& one : all) {
      if (one.objective != objective || one.along != along || !one.line.starts_with(start))
        continue;
      found.push_back(one.line);
      found.insert(found.end(), one.where.begin(), one.where.end());
    }
    return found;
  };
  EXPECT_THAT(find(Optimize::kThroughput, "threads", "from 16 threads on ioeventfd beats sync"),
              ElementsAre("from 16 threads on ioeventfd beats sync; below that it is the reverse",
                          "free tmpfs", "other-core tmpfs"));
  EXPECT_THAT(find(Optimize::kThroughput, "latency", "from 50 us on ioeventfd"),
              ElementsAre("from 50 us on ioeventfd beats sync; below that it is the reverse",
                          "x16 other-core"));
  EXPECT_THAT(find(Optimize::kEfficiency, "latency", "ioeventfd beats poll"),
              ElementsAre("ioeventfd beats poll from 0 us to 1 ms", "x16 other-core"));
  EXPECT_THAT(find(Optimize::kEfficiency, "latency", "sync beats poll"),
              ElementsAre("sync beats poll from 0 us to 1 ms", "x16 other-core"));
}

TEST(StudyFindings, AreFiveSentencesFromTheRows) {
  StudyRows rows;
  rows.add_all(spot_at(Placement::kOtherCore, 1), 50, 100, 80, 100);
  rows.add_all(spot_at(Placement::kOtherCore, 16), 100, 400, 200, 300);
  rows.add_all(spot_at(Placement::kBusy, 1), 100, 50, 25, 100);
  rows.add_all(spot_at(Placement::kBusy, 16), 100, 50, 25, 100);
  const auto findings = find_in(rows.report());
  ASSERT_THAT(findings, SizeIs(5));
  EXPECT_EQ(findings[0],
            "By throughput, of 4 cells the best fixed way is sync in 2 (2.00 times the next) and "
            "ioeventfd in 2 (1.25 to 2.00 times the next).");
  EXPECT_EQ(
      findings[1],
      "By bytes for a host CPU second, of 4 cells the best fixed way is sync in 2 (2.00 times "
      "the next) and ioeventfd in 2 (2.00 to 4.00 times the next).");
  EXPECT_EQ(findings[2],
            "Adaptive for throughput is within 5 % of the best fixed way in 3 of 4 cells (1 surely "
            "below, 0 perhaps) and has 0.93 of its throughput in the mean; over the whole it has "
            "1.57 times sync's, 1.32 times ioeventfd's and 2.34 times poll's (geometric means).");
  EXPECT_EQ(findings[3],
            "Adaptive for efficiency is within 5 % of the best fixed way in 3 of 4 cells (1 surely "
            "below, 0 perhaps) and has 0.93 of its bytes for a host CPU second in the mean; over "
            "the whole it has 1.57 times sync's, 1.32 times ioeventfd's and 11.70 times poll's "
            "(geometric means).");
  EXPECT_EQ(findings[4],
            "Ioeventfd has 2.83 times sync's throughput at other-core and 0.50 times at busy "
            "(geometric means).");
}

TEST(StudyFindings, SayWhatIsNoiseOrDisturbedAndNothingOfWhatIsNotThere) {
  StudyRows rows;
  rows.add(spot_at(Placement::kFree, 1), kSync, 100, 100, 0.09);
  rows.add(spot_at(Placement::kFree, 1), kEvent, 101, 101, 0.09);
  rows.add(spot_at(Placement::kFree, 8), kSync, 100, 100);
  rows.add(spot_at(Placement::kFree, 8), kEvent, 150, 150);
  rows.add(spot_at(Placement::kFree, 16), kSync, 100, 100, 0.01, true);
  rows.add(spot_at(Placement::kFree, 16), kEvent, 150, 150);
  const auto findings = find_in(rows.report());
  ASSERT_THAT(findings, SizeIs(3)) << "nothing about adaptive";
  EXPECT_EQ(findings[0],
            "By throughput, of 3 cells the best fixed way is ioeventfd in 1 (1.50 times the next); "
            "in 1 the first two are within noise; 1 disturbed.");
  EXPECT_THAT(find_in(StudyReport{}), IsEmpty());
}

TEST(StudyFindings, OfSingleRepeatsBeginWithThatAndAreStillFive) {
  StudyRows rows(1);
  rows.add_all(spot_at(Placement::kOtherCore, 1), 50, 100, 60, 90);
  const auto findings = find_in(rows.report());
  ASSERT_THAT(findings, SizeIs(5));
  EXPECT_THAT(findings[0], ::testing::StartsWith("Each cell was measured once"));
  EXPECT_EQ(findings[3],
            "Adaptive for throughput is within 5 % of the best fixed way in 0 of 1 cell (0 surely "
            "below, 1 perhaps) and has 0.90 of its throughput in the mean; over the whole it has "
            "1.80 times sync's, 0.90 times ioeventfd's and 1.50 times poll's (geometric means).");
}

TEST(StudyFindings, CrossoversFitTheLine) {
  StudyRows rows;
  for (const unsigned threads : {1U, 16U}) {
    rows.add_all(spot_at(Placement::kFree, threads), 100, 25.0 * threads, 10, 100);
  }
  EXPECT_THAT(crossovers_text(rows.report(), 60),
              ::testing::StartsWith("Along threads, by throughput:\n"
                                    "  from 16 threads on ioeventfd beats sync; below that it is\n"
                                    "    the reverse (free)\n"));
  EXPECT_EQ(crossovers_text(StudyReport{}, 60), "");
}

}  // namespace
}  // namespace bellhop::bench
