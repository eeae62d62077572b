#include "base/histogram.h"

#include <gtest/gtest.h>

#include <vector>

namespace bellhop {
namespace {

TEST(Histogram, NothingIsNothing) {
  const Histogram none;
  EXPECT_EQ(none.count(), 0U);
  EXPECT_EQ(none.quantile(0.5), 0U);
  EXPECT_EQ(none.mean(), 0);
}

TEST(Histogram, SmallValuesAreExact) {
  Histogram histogram;
  for (std::uint64_t value = 0; value < 32; ++value) histogram.add(value);
  EXPECT_EQ(histogram.quantile(0), 0U);
  EXPECT_EQ(histogram.quantile(0.5), 15U);
  EXPECT_EQ(histogram.quantile(1), 31U);
  EXPECT_EQ(histogram.mean(), 15.5);
}

TEST(Histogram, AQuantileIsAtMostAThirtiethAboveTheTruth) {
  std::uint64_t state = 1;
  std::vector<std::uint64_t> values;
  Histogram histogram;
  for (int i = 0; i < 10000; ++i) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    values.push_back((state >> 24U) >> (state >> 59U));
    histogram.add(values.back());
  }
  std::ranges::sort(values);
  for (const std::size_t rank : {1U, 100U, 1000U, 5000U, 9000U, 9900U, 9990U, 10000U}) {
    const std::uint64_t truth = values[rank - 1];
    const std::uint64_t quantile = histogram.quantile(static_cast<double>(rank) / 10000);
    EXPECT_GE(quantile, truth) << rank;
    EXPECT_LE(quantile, truth + truth / 30 + 1) << rank;
  }
}

TEST(Histogram, TheLargestOfAllIsKept) {
  Histogram histogram;
  histogram.add(1);
  histogram.add(UINT64_MAX);
  EXPECT_EQ(histogram.max(), UINT64_MAX);
  EXPECT_EQ(histogram.quantile(1), UINT64_MAX);
  EXPECT_EQ(histogram.quantile(0.5), 1U);
}

TEST(Histogram, TwoMakeOne) {
  Histogram one;
  Histogram other;
  for (int i = 0; i < 10; ++i) one.add(3);
  for (int i = 0; i < 30; ++i) other.add(7);
  one.merge(other);
  EXPECT_EQ(one.count(), 40U);
  EXPECT_EQ(one.quantile(0.25), 3U);
  EXPECT_EQ(one.quantile(0.26), 7U);
  EXPECT_EQ(one.mean(), 6);
}

}  // namespace
}  // namespace bellhop
