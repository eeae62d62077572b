#include "bench/report/findings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/blk/blk_page.h"

namespace bellhop::bench {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// Seven repeats that lie up to `spread` to both sides, in another order for each `turn`: what two
/// cells have in one round are not the same neighbours.
Sample figure(double median, double spread = 1, std::size_t turn = 0) {
  constexpr double kParts[] = {0, -1, 1, 0.5, -0.5, 0.8, -0.8};
  Sample sample;
  for (std::size_t i = 0; i < 7; ++i) {
    sample.values.push_back(median + spread * kParts[(i * (turn + 1) + turn) % 7]);
  }
  return sample;
}

WaysOfCell cell(const char* name, Sample sync, Sample event) {
  return {"Reads", name, {{"sync", sync, figure(50)}, {"ioeventfd", event, figure(50)}}};
}

/// The sentences' part about throughput.
std::string best(const std::vector<WaysOfCell>& cells) {
  const auto findings = find_best_ways("Bellhop", cells, Comparing{});
  if (findings.size() != 1) return "";
  return findings[0].substr(0, findings[0].find(" By bytes"));
}

TEST(BestWays, AreCountedByTheirCells) {
  EXPECT_EQ(
      best({cell("x1", figure(100), figure(150)), cell("x8", figure(100), figure(112)),
            cell("x16", figure(120), figure(100))}),
      "Reads with Bellhop: by throughput ioeventfd is best in 2 of 3 cells, 1.12 to 1.50 times "
      "the next; sync in x16, 1.20 times.");
  EXPECT_EQ(best({cell("x1", figure(150), figure(100)), cell("x8", figure(300), figure(200))}),
            "Reads with Bellhop: by throughput sync is best in all 2 cells, 1.50 times the next.");
}

TEST(BestWays, NeedTheIntervalToLieAbove) {
  EXPECT_EQ(best({cell("x1", figure(100, 9), figure(102, 9, 2))}),
            "Reads x1 with Bellhop: by throughput none is best beyond the noise.");
  EXPECT_THAT(best({cell("x1", figure(100), figure(104, 1, 2))}),
              HasSubstr("ioeventfd is best, 1.04"));
  EXPECT_EQ(
      best({cell("x1", figure(100), figure(150)), cell("x8", figure(100, 9), figure(101, 9, 2)),
            cell("x16", figure(100, 9), figure(99, 9, 2))}),
      "Reads with Bellhop: by throughput ioeventfd is best in 1 of 3 cells, 1.50 times the "
      "next; within noise in x8, x16.");
  EXPECT_THAT(best({cell("x8", figure(100, 9), figure(101, 9, 2)),
                    cell("x16", figure(100, 9), figure(99, 9, 2))}),
              HasSubstr("none is best beyond the noise in all 2 cells."));
}

TEST(BestWays, SayNothingOfDisturbedRepeats) {
  Sample disturbed = figure(100);
  disturbed.disturbed = true;
  EXPECT_EQ(best({cell("x1", disturbed, figure(150)), cell("x8", figure(100), figure(150))}),
            "Reads with Bellhop: by throughput ioeventfd is best in 1 of 2 cells, 1.50 times the "
            "next; disturbed, so that nothing is said in 1 of 2 cells.");
}

TEST(BestWays, TakeTheNextOfThree) {
  WaysOfCell three = cell("1024", figure(100), figure(120));
  three.ways.push_back({"vhost-net", figure(240), figure(25)});
  const auto findings = find_best_ways("Bellhop", {three}, Comparing{});
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_THAT(findings[0],
              AllOf(HasSubstr("by throughput vhost-net is best, 2.00 times the next."),
                    HasSubstr("By bytes for a host CPU second none is best beyond the noise.")));
}

TEST(BestWays, AreOfAKindAndNeedTwo) {
  WaysOfCell writes = cell("x1", figure(100), figure(150));
  writes.kind = "Writes";
  WaysOfCell alone{"Reads", "x16", {{"sync", figure(1), figure(1)}}};
  const auto findings =
      find_best_ways("Bellhop", {writes, alone, cell("x1", {}, figure(2))}, Comparing{});
  ASSERT_EQ(findings.size(), 2U);
  EXPECT_THAT(findings[0], ::testing::StartsWith("Writes x1 with Bellhop: "));
  EXPECT_THAT(findings[1], ::testing::StartsWith("Reads x1 with Bellhop: "));
}

std::string beside(const std::vector<std::pair<Sample, Sample>>& figures) {
  const Comparing comparing;
  std::vector<PairOfCells> pairs;
  pairs.reserve(figures.size());
  for (const auto& [own, peer] : figures) {
    pairs.push_back({"c" + std::to_string(pairs.size()), comparing.ratio(own, peer),
                     comparing.ratio(figure(10), figure(20))});
  }
  const auto findings = find_ahead_and_behind("QEMU 7.2", "", pairs);
  if (findings.size() != 2) return "";
  EXPECT_THAT(findings[1], HasSubstr("by bytes for a host CPU second: behind"));
  return findings[0];
}

TEST(AheadAndBehind, NamesWhereBellhopLoses) {
  EXPECT_EQ(
      beside({{figure(100), figure(50)},
              {figure(80), figure(100)},
              {figure(60), figure(100)},
              {figure(100, 9), figure(100.5, 9, 2)},
              {figure(110), figure(100)}}),
      "Bellhop beside QEMU 7.2, notified in the same way: by throughput ahead in 2 of 5 cells, "
      "1.10 to 2.00 times as much; behind in 2 of 5 cells: c2 (0.60), c1 (0.80); within "
      "noise in 1 of 5 cells.");
}

TEST(AheadAndBehind, SaysShortlyWhatThereIsToSay) {
  EXPECT_THAT(beside({{figure(100), figure(50)}}), HasSubstr("by throughput ahead, 2.00 times"));
  EXPECT_THAT(beside({{figure(50), figure(100)}}), HasSubstr("by throughput behind: c0 (0.50)."));
  EXPECT_THAT(beside({{figure(50), figure(50)}, {figure(50, 9), figure(51, 9, 2)}}),
              HasSubstr("by throughput within noise in all 2 cells."));
  EXPECT_THAT(find_ahead_and_behind("QEMU 7.2", "", {}), IsEmpty());
}

TEST(AheadAndBehind, NamesTheWorstOfMany) {
  std::vector<std::pair<Sample, Sample>> figures;
  figures.reserve(8);
  for (int i = 0; i < 8; ++i) figures.emplace_back(figure(50 + i), figure(100));
  EXPECT_THAT(beside(figures), AllOf(HasSubstr("behind in all 8 cells: c0 (0.50), "),
                                     HasSubstr("c5 (0.55) and 2 more.")));
}

TEST(FindingsText, IsWrapped) {
  const std::string words(99, 'a');
  EXPECT_EQ(to_text(std::vector<std::string>{words + " b c", "d"}, 100), words + "\n  b c\nd\n");
}

TEST(AheadAndBehind, SaysWithWhat) {
  const Comparing comparing;
  const auto findings = find_ahead_and_behind(
      "QEMU 7.2", "with trains",
      {{"c", comparing.ratio(figure(2, 0.1), figure(1, 0.1)), comparing.ratio(figure(1), {})}});
  ASSERT_EQ(findings.size(), 2U);
  EXPECT_THAT(findings[0], ::testing::StartsWith("Bellhop beside QEMU 7.2, with trains, notified"));
}

TEST(Headline, SaysWhatIsGainedAtWhatCostAndWhatToUse) {
  WaysOfCell x1{
      "Reads",
      "x1",
      {{"sync", figure(100, 9), figure(100)}, {"ioeventfd", figure(101, 9, 2), figure(50)}}};
  WaysOfCell x16{
      "Reads", "x16", {{"sync", figure(100), figure(100)}, {"ioeventfd", figure(150), figure(80)}}};
  EXPECT_EQ(find_headline({x1, x16}, Comparing{}),
            "On this host ioeventfd gives +50 % of throughput in Reads x16 and -20 % of bytes for "
            "each CPU second, beside sync; 1 of 2 gains lies within noise; use ioeventfd for "
            "throughput, sync where CPU time counts.");
  x16.ways[1].efficiency = figure(100);
  x1.ways[1].efficiency = figure(110);
  EXPECT_THAT(find_headline({x1, x16}, Comparing{}), HasSubstr("; use ioeventfd."));
  x16.ways[1].throughput = figure(50);
  x1.ways[1].efficiency = figure(50);
  EXPECT_THAT(find_headline({x1, x16}, Comparing{}), HasSubstr("; use sync."));
  x16.ways[1].throughput.disturbed = true;
  EXPECT_THAT(find_headline({x1, x16}, Comparing{}), HasSubstr("unknown change (disturbed)"));
  EXPECT_THAT(find_headline({x16}, Comparing{}),
              HasSubstr("; measure again while this host has nothing else to do."));
  EXPECT_EQ(find_headline({{"Reads", "x1", {{"sync", figure(1), figure(1)}}}}, Comparing{}), "");
}

// ---- of a whole report

Measurement measured_cell(double megabytes_per_s, double cpu_s) {
  Measurement m;
  m.seconds = 1;
  m.bytes = static_cast<std::uint64_t>(megabytes_per_s * 1e6);
  m.host_cpu_s = cpu_s;
  return m;
}

TEST(Findings, OfADisksReport) {
  BlkReport report;
  report.setting.programs = {"0.2.0", {{"/usr/bin/qemu", "7.2"}, {"/opt/qemu", "10.0.2"}}};
  const auto add = [&report](Vmm vmm, NotifyMode notify, double speed, double cpu_s) {
    const BlkCell cell{Workload::kRandRead, 16, 1, Placement::kFree, vmm, notify};
    report.runs.push_back(summarise<BlkCell, Measurement>(
        cell, {measured_cell(speed, cpu_s), measured_cell(speed + 1, cpu_s),
               measured_cell(speed - 1, cpu_s)}));
  };
  add(Vmm::kBellhop, NotifyMode::kSync, 100, 1);
  add(Vmm::kBellhop, NotifyMode::kIoEventFd, 150, 3);
  add(Vmm::kQemu, NotifyMode::kIoEventFd, 100, 4);
  add({Vmm::Kind::kQemu, 1}, NotifyMode::kIoEventFd, 200, 4);
  const auto findings = make_page(report).findings;
  EXPECT_THAT(
      findings,
      ElementsAre("Random reads x16 with Bellhop: by throughput ioeventfd is best, 1.50 times the "
                  "next. By bytes for a host CPU second sync is best, 2.00 times the next.",
                  "Bellhop beside QEMU 7.2, notified in the same way: by throughput ahead, 1.50 "
                  "times as much.",
                  "Bellhop beside QEMU 7.2, by bytes for a host CPU second: ahead, 2.00 times as "
                  "much.",
                  "Bellhop beside QEMU 10.0.2, notified in the same way: by throughput behind: "
                  "Random reads x16 ioeventfd (0.75).",
                  "Bellhop beside QEMU 10.0.2, by bytes for a host CPU second: within noise."));
  const std::string html = to_html(make_page(report), report);
  EXPECT_LT(html.find("<p>Random reads x16 with Bellhop"), html.find("<table>"));
  report.runs.clear();
  EXPECT_THAT(make_page(report).findings, IsEmpty());
}

}  // namespace
}  // namespace bellhop::bench
