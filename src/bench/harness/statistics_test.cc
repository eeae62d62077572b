#include "bench/harness/statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace bellhop::bench {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

TEST(Median, IsTheMiddleOrTheMeanOfTwo) {
  EXPECT_DOUBLE_EQ(median({3, 1, 2}), 2);
  EXPECT_DOUBLE_EQ(median({4, 1, 2, 3}), 2.5);
  EXPECT_DOUBLE_EQ(median({7}), 7);
  EXPECT_DOUBLE_EQ(median({}), 0);
}

TEST(RandomNumbers, FollowFromTheSeed) {
  Random a(1);
  Random b(1);
  Random other(2);
  const auto first = a.next();
  EXPECT_EQ(first, b.next());
  EXPECT_NE(first, other.next());
  // The published value for this seed: reports of all builds have the same intervals.
  EXPECT_EQ(Random(0).next(), 0xe220a8397b1dcdafU);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_LT(a.below(7), 7U);
    const double fraction = a.fraction();
    EXPECT_TRUE(fraction >= 0 && fraction < 1);
  }
}

TEST(Shuffled, HasEachOnceAndEveryOrder) {
  std::set<std::vector<std::size_t>> orders;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const auto order = shuffled(3, seed);
    EXPECT_THAT(order, UnorderedElementsAre(0, 1, 2));
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 6U);
  EXPECT_EQ(shuffled(5, 9), shuffled(5, 9));
  EXPECT_THAT(shuffled(1, 3), ElementsAre(0));
}

TEST(RatioInterval, HoldsTheRatioAndNarrowsWithRepeats) {
  Random random(5);
  std::vector<double> above;
  std::vector<double> below;
  double width = 0;
  for (const std::size_t count : {5U, 80U}) {
    while (above.size() < count) {
      above.push_back(150 + 30 * (random.fraction() - 0.5));
      below.push_back(100 + 20 * (random.fraction() - 0.5));
    }
    const auto interval = ratio_interval(above, below, 1);
    ASSERT_TRUE(interval);
    EXPECT_LT(interval->low, 1.5);
    EXPECT_GT(interval->high, 1.5);
    if (count == 80) {
      EXPECT_LT(interval->high - interval->low, width / 2);
    }
    width = interval->high - interval->low;
  }
}

TEST(RatioInterval, CoversTheTruthInAboutNineteenOfTwenty) {
  // Two arms of a known ratio, fifteen repeats each, on a host whose speed drifts.
  Random random(11);
  const auto noise = [&random] {
    double sum = 0;
    for (int i = 0; i < 12; ++i) sum += random.fraction();
    return sum - 6;  // as good as normal, of variance 1
  };
  int covered = 0;
  constexpr int kTrials = 300;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::vector<double> above;
    std::vector<double> below;
    for (int i = 0; i < 15; ++i) {
      const double drift = 1 + 0.2 * random.fraction();
      above.push_back(150 * drift * (1 + 0.05 * noise()));
      below.push_back(100 * drift * (1 + 0.05 * noise()));
    }
    const auto interval = ratio_interval(above, below, 1);
    covered += interval && interval->low <= 1.5 && interval->high >= 1.5 ? 1 : 0;
  }
  EXPECT_GT(covered, kTrials * 88 / 100);
  EXPECT_LT(covered, kTrials);
}

TEST(RatioInterval, DrawsRoundsAsAWhole) {
  // One slow round for both: what is divided is the same in every round.
  const auto interval = ratio_interval({200, 100, 20, 180}, {100, 50, 10, 90}, 1);
  ASSERT_TRUE(interval);
  EXPECT_DOUBLE_EQ(interval->low, 2);
  EXPECT_DOUBLE_EQ(interval->high, 2);
  // Of other rounds nothing is known of which belong together.
  const auto apart = ratio_interval({200, 100, 20, 180, 190}, {100, 50, 10, 90}, 1);
  ASSERT_TRUE(apart);
  EXPECT_LT(apart->low, 1.5);
  EXPECT_GT(apart->high, 2.5);
}

TEST(RatioInterval, IsTheSameInEachRunAndUnknownOfOneRepeat) {
  const std::vector<double> above = {5, 6, 9, 4, 8};
  const std::vector<double> below = {3, 4, 3, 5, 2};
  const auto first = ratio_interval(above, below, 7);
  const auto again = ratio_interval(above, below, 7);
  ASSERT_TRUE(first && again);
  EXPECT_EQ(first->low, again->low);
  EXPECT_EQ(first->high, again->high);
  EXPECT_FALSE(ratio_interval({5}, {3}, 1));
  EXPECT_FALSE(ratio_interval({5, 6}, {3, 0}, 1)) << "nothing to divide by";
}

TEST(RatioInterval, IsNoWiderThanWhatWasSeen) {
  const auto interval = ratio_interval({10, 12, 11}, {1, 1, 1}, 1);
  ASSERT_TRUE(interval);
  EXPECT_DOUBLE_EQ(interval->low, 10);
  EXPECT_DOUBLE_EQ(interval->high, 12);
}

TEST(TwoPeaks, AreFoundWhereRepeatsHaveTwoSpeeds) {
  const auto peaks = find_two_peaks({142, 280, 140, 143, 282, 141, 139, 145, 142});
  ASSERT_TRUE(peaks);
  EXPECT_DOUBLE_EQ(peaks->low, 142);
  EXPECT_DOUBLE_EQ(peaks->high, 281);
  EXPECT_EQ(peaks->in_low, 7U);
}

TEST(TwoPeaks, AreNotSeenInOnePeakAnOutlierOrTooFewRepeats) {
  EXPECT_FALSE(find_two_peaks({100, 101, 99, 102, 98, 100, 103, 97}));
  EXPECT_FALSE(find_two_peaks({100, 101, 99, 102, 98, 100, 103, 250})) << "one outlier is no peak";
  EXPECT_FALSE(find_two_peaks({100, 200, 100, 200, 100})) << "five repeats are too few";
  EXPECT_FALSE(find_two_peaks({100, 103, 100, 103, 100, 103, 100, 103})) << "3 % apart";
  EXPECT_FALSE(find_two_peaks({5, 5, 5, 5, 5, 5, 5}));
  // Evenly spread samples are named in one of a hundred, those with one peak less often still.
  Random random(3);
  int even = 0;
  int normal = 0;
  for (int i = 0; i < 500; ++i) {
    std::vector<double> flat(9);
    std::vector<double> peaked(9);
    for (double& value : flat) value = 100 + 100 * random.fraction();
    for (double& value : peaked) {
      value = 100 + 30 * (random.fraction() + random.fraction() + random.fraction());
    }
    even += find_two_peaks(flat) ? 1 : 0;
    normal += find_two_peaks(peaked) ? 1 : 0;
  }
  EXPECT_LE(even, 15);
  EXPECT_LE(normal, 10);
}

}  // namespace
}  // namespace bellhop::bench
