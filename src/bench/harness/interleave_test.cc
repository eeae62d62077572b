#include "bench/harness/interleave.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

namespace bellhop::bench {
namespace {

using ::testing::HasSubstr;

struct TestCell {
  std::string name;
};
std::string describe(const TestCell& cell) { return cell.name; }

/// Repeats whose share of the time that others took is given, one after the other.
class InterleaveTest : public ::testing::Test {
 protected:
  Status run(unsigned repeats) {
    const CellRunner<TestCell, Measurement> runner{
        [](const TestCell& cell) -> Result<CpuPlan> {
          if (cell.name == "impossible") return fail("no room");
          return CpuPlan{};
        },
        [this](const TestCell& cell, const CpuPlan&) -> Result<Measurement> {
          order.push_back(cell.name);
          if (cell.name == "broken") return fail("it broke");
          Measurement m;
          m.seconds = 1;
          m.bytes = ++count;
          auto& left = taken[cell.name];
          m.run_delay_s = left.empty() ? 0 : left.back();
          if (!left.empty()) left.pop_back();
          return m;
        },
        [](const TestCell&, const Measurement& m) { return *m.run_delay_s; }};
    return run_interleaved(
        cells, repeats, runner, [](std::size_t, std::size_t, const std::string&) {}, runs, not_run);
  }

  std::vector<std::vector<TestCell>> cells;
  std::map<std::string, std::vector<double>> taken;  ///< the last one first
  std::vector<std::string> order;
  std::uint64_t count = 0;
  std::vector<RunOf<TestCell, Measurement>> runs;
  std::vector<NotRun> not_run;
};

TEST_F(InterleaveTest, EachRoundHasEachCellOfTheSetOnceInChangingOrder) {
  cells = {{{"a"}, {"b"}, {"c"}}, {{"d"}}};
  ASSERT_TRUE(run(20).has_value());
  ASSERT_EQ(order.size(), 80U);
  std::set<std::string> rounds;
  for (std::size_t round = 0; round < 20; ++round) {
    const auto at = order.begin() + static_cast<std::ptrdiff_t>(3 * round);
    EXPECT_EQ(std::set<std::string>(at, at + 3).size(), 3U);
    rounds.insert(at[0] + at[1] + at[2]);
  }
  EXPECT_GE(rounds.size(), 4U);
  for (std::size_t i = 60; i < 80; ++i) EXPECT_EQ(order[i], "d") << "the next set comes after it";
  ASSERT_EQ(runs.size(), 4U);
  EXPECT_EQ(runs[0].all.size(), 20U);
}

TEST_F(InterleaveTest, ADisturbedRepeatIsMeasuredAgain) {
  cells = {{{"a"}}};
  taken["a"] = {0.01, 0.03};
  ASSERT_TRUE(run(2).has_value());
  EXPECT_EQ(order.size(), 3U);
  ASSERT_EQ(runs.size(), 1U);
  EXPECT_EQ(runs[0].all.size(), 2U);
  EXPECT_EQ(runs[0].all[0].bytes, 2U) << "the second try";
  EXPECT_EQ(runs[0].disturbed(), 0U);
  EXPECT_EQ(disturbed_text(runs), "");
}

TEST_F(InterleaveTest, WhatStaysDisturbedIsSaid) {
  cells = {{{"a"}, {"b"}}};
  taken["a"] = std::vector<double>(kTries, 0.5);
  ASSERT_TRUE(run(2).has_value());
  EXPECT_EQ(order.size(), 4U + kTries - 1);
  EXPECT_EQ(runs[0].disturbed(), 1U);
  EXPECT_THAT(disturbed_text(runs), HasSubstr("a: 1 of 2"));
}

TEST_F(InterleaveTest, WhatCannotRunAndWhatFailsIsListed) {
  cells = {{{"impossible"}, {"broken"}, {"a"}}};
  ASSERT_TRUE(run(3).has_value());
  ASSERT_EQ(not_run.size(), 2U);
  EXPECT_EQ(not_run[0].reason, "no room");
  EXPECT_FALSE(not_run[0].failed);
  EXPECT_EQ(not_run[1].reason, "it broke");
  EXPECT_TRUE(not_run[1].failed);
  EXPECT_EQ(std::ranges::count(order, "broken"), 1);
  EXPECT_EQ(runs.size(), 1U);
}

}  // namespace
}  // namespace bellhop::bench
