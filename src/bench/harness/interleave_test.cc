#include "bench/harness/interleave.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

namespace bellhop::bench {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct TestCell {
  std::string name;
};
std::string describe(const TestCell& cell) { return cell.name; }
bool is_compared(const TestCell& cell, const TestCell& base) {
  return base.name == "a" && cell.name != "a";
}

using TestRun = RunOf<TestCell, Measurement>;
struct TestReport : ReportBase {
  struct {
    Rounds rounds;
  } setting;
  std::vector<TestRun> runs;
};

/// Repeats whose share of the time that others took is given, one after the other.
class InterleaveTest : public ::testing::Test {
 protected:
  void run(unsigned least, unsigned most) {
    report.setting.rounds = {least, most, 0.05};
    const CellRunner<TestCell, Measurement> runner{
        [](const TestCell& cell) -> Result<CpuPlan> {
          if (cell.name == "impossible") return fail("no room");
          return CpuPlan{};
        },
        [this](const TestCell& cell, const CpuPlan&) { return measure(cell); },
        [](const TestCell&, const Measurement& m) { return *m.vcpu_run_delay_s; }};
    SweepHooks hooks;
    hooks.begin = [this](const SweepSize& announced) { size = announced; };
    hooks.progress = [this](std::size_t number, std::size_t total, const std::string&) {
      progress.emplace_back(number, total);
    };
    Interleaved<TestReport, TestCell, Measurement>(report, runner, hooks).run(cells, earlier);
  }
  void run(unsigned repeats) { run(repeats, repeats); }

  Result<Measurement> measure(const TestCell& cell) {
    if (order.size() == interrupt_after) return fail("interrupted", kEndedByUser);
    order.push_back(cell.name);
    if (cell.name == "broken") return fail("it broke", EINTR);  // by itself: nobody has ended it
    Measurement m;
    m.seconds = 1;
    m.bytes = ++count;
    m.host_cpu_s = 1;
    auto& given = speeds[cell.name];
    if (!given.empty()) {
      m.bytes = given.back();
      given.pop_back();
    }
    auto& left = taken[cell.name];
    m.vcpu_run_delay_s = left.empty() ? 0 : left.back();
    if (!left.empty()) left.pop_back();
    return m;
  }

  std::vector<std::vector<TestCell>> cells;
  std::map<std::string, std::vector<double>> taken;          ///< the last one first
  std::map<std::string, std::vector<std::uint64_t>> speeds;  ///< the same
  std::vector<std::string> order;
  std::uint64_t count = 0;
  std::size_t interrupt_after = 1'000'000;
  Earlier<Measurement> earlier;
  SweepSize size;
  std::vector<std::pair<std::size_t, std::size_t>> progress;
  TestReport report;
};

TEST_F(InterleaveTest, EachRoundHasEachCellOfTheSetOnceInChangingOrder) {
  cells = {{{"a"}, {"b"}, {"c"}}, {{"d"}}};
  run(20);
  ASSERT_EQ(order.size(), 80U);
  std::set<std::string> rounds;
  for (std::size_t round = 0; round < 20; ++round) {
    const auto at = order.begin() + static_cast<std::ptrdiff_t>(3 * round);
    EXPECT_EQ(std::set<std::string>(at, at + 3).size(), 3U);
    rounds.insert(at[0] + at[1] + at[2]);
  }
  EXPECT_GE(rounds.size(), 4U);
  for (std::size_t i = 60; i < 80; ++i) EXPECT_EQ(order[i], "d") << "the next set comes after it";
  ASSERT_EQ(report.runs.size(), 4U);
  EXPECT_EQ(report.runs[0].all.size(), 20U);
  EXPECT_EQ(progress.back(), std::make_pair(std::size_t{80}, std::size_t{80}));
}

TEST_F(InterleaveTest, TheOrderFollowsFromTheSeed) {
  cells = {{{"a"}, {"b"}, {"c"}}};
  run(10);
  const auto first = order;
  order.clear();
  run(10);
  EXPECT_EQ(order, first);
  order.clear();
  report.comparing.seed = 2;
  run(10);
  EXPECT_NE(order, first);
}

TEST_F(InterleaveTest, ADisturbedRepeatIsRejectedAndMadeAgain) {
  cells = {{{"a"}}};
  taken["a"] = {0.01, 0.03};
  run(2);
  EXPECT_EQ(order.size(), 3U);
  ASSERT_EQ(report.runs.size(), 1U);
  EXPECT_EQ(report.runs[0].all.size(), 2U);
  EXPECT_EQ(report.runs[0].all[0].bytes, 2U) << "the second try";
  ASSERT_EQ(report.runs[0].rejected.size(), 1U);
  EXPECT_EQ(report.runs[0].rejected[0].bytes, 1U);
  EXPECT_EQ(report.runs[0].disturbed(), 0U);
  EXPECT_THAT(notes_about(report), IsEmpty());
}

TEST_F(InterleaveTest, WhatStaysDisturbedIsSaidAndHasNoRatio) {
  cells = {{{"a"}, {"b"}}};
  taken["b"] = {0.5, 0.3, 0.4};
  run(2);
  EXPECT_EQ(order.size(), 4U + kTries - 1);
  ASSERT_EQ(report.runs.size(), 2U);
  EXPECT_EQ(report.runs[1].disturbed(), 1U);
  EXPECT_EQ(report.runs[1].all[0].vcpu_run_delay_s, 0.3) << "the least disturbed of three";
  EXPECT_THAT(notes_about(report), ElementsAre(HasSubstr("b: 1 of 2")));
  EXPECT_EQ(report.comparing.throughput(&report.runs[1], &report.runs[0]).verdict,
            Ratio::Verdict::kRefused);
  report.comparing.accept_disturbed = true;
  EXPECT_TRUE(report.comparing.throughput(&report.runs[1], &report.runs[0]).interval);
}

TEST_F(InterleaveTest, WhatCannotRunAndWhatFailsIsListed) {
  cells = {{{"impossible"}, {"broken"}, {"a"}}};
  run(3);
  ASSERT_EQ(report.not_run.size(), 2U);
  EXPECT_EQ(report.not_run[0].reason, "no room");
  EXPECT_FALSE(report.not_run[0].failed);
  EXPECT_EQ(report.not_run[1].reason, "it broke");
  EXPECT_TRUE(report.not_run[1].failed);
  EXPECT_TRUE(report.has_failed("broken"));
  EXPECT_FALSE(report.has_failed("impossible"));
  EXPECT_EQ(std::ranges::count(order, "broken"), 1);
  EXPECT_EQ(report.runs.size(), 1U);
  EXPECT_EQ(size.cells, 2U);
  EXPECT_EQ(size.not_run, 1U);
  EXPECT_EQ(size.repeats, 6U);
}

TEST_F(InterleaveTest, GoesOnUntilTheRatioIsKnown) {
  cells = {{{"a"}, {"b"}}};
  // The last comes first: 200 in each round but the first three, which are 50 % apart.
  speeds["a"] = std::vector<std::uint64_t>(40, 100);
  speeds["b"] = std::vector<std::uint64_t>(40, 200);
  run(3, 15);
  EXPECT_EQ(order.size(), 6U) << "steady from the start";
  EXPECT_EQ(size.repeats, 6U);
  EXPECT_EQ(size.at_most, 30U);
  order.clear();
  report = {};
  speeds["b"].insert(speeds["b"].end(), {150, 300, 200});
  run(3, 15);
  EXPECT_GT(order.size(), 6U);
  EXPECT_LT(order.size(), 30U);
  EXPECT_TRUE(report.comparing.throughput(&report.runs[1], &report.runs[0]).is_within(0.05));
}

TEST_F(InterleaveTest, EndsAtTheMostRepeats) {
  cells = {{{"a"}}, {{"c"}}};
  for (std::uint64_t i = 0; i < 40; ++i) speeds["a"].push_back(100 + 100 * (i % 3));
  run(3, 8);
  EXPECT_EQ(std::ranges::count(order, "a"), 8) << "in no ratio, and unsteady by itself";
  EXPECT_EQ(std::ranges::count(order, "c"), 8) << "one more each time";
}

TEST_F(InterleaveTest, AnInterruptLeavesWhatWasDone) {
  cells = {{{"a"}, {"b"}}, {{"c"}}};
  interrupt_after = 3;
  run(3);
  EXPECT_TRUE(report.interrupted);
  ASSERT_EQ(report.runs.size(), 2U);
  EXPECT_EQ(report.runs[0].all.size() + report.runs[1].all.size(), 3U);
  ASSERT_EQ(report.not_run.size(), 1U);
  EXPECT_EQ(report.not_run[0].cell, "c");
  EXPECT_FALSE(report.has_failures());
}

TEST_F(InterleaveTest, GoesOnWhereItStopped) {
  cells = {{{"a"}, {"b"}}, {{"c"}}};
  run(3);
  const auto whole = order;
  for (std::size_t stop = 0; stop < whole.size(); ++stop) {
    order.clear();
    report = {};
    earlier.clear();
    interrupt_after = stop;
    run(3);
    const auto before = order;
    for (const TestRun& one : report.runs) earlier[one.cell.name] = {one.all, one.rejected};
    order.clear();
    report = {};
    interrupt_after = 1'000'000;
    run(3);
    std::vector<std::string> both = before;
    both.insert(both.end(), order.begin(), order.end());
    EXPECT_EQ(both, whole) << "stopped after " << stop;
    EXPECT_EQ(size.from_file, stop);
    EXPECT_EQ(size.repeats, whole.size() - stop);
    EXPECT_FALSE(report.interrupted);
    ASSERT_EQ(report.runs.size(), 3U);
    for (const TestRun& one : report.runs) EXPECT_EQ(one.all.size(), 3U);
  }
}

}  // namespace
}  // namespace bellhop::bench
