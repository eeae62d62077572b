#include "bench/study/study_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/harness/resume.h"
#include "bench/study/study_findings.h"
#include "bench/study/study_fixture.h"

namespace bellhop::bench {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

StudyReport small_report() {
  StudyRows rows;
  rows.add_all(spot_at(Placement::kOtherCore, 1), 50, 100, 80, 100);
  rows.add_all(spot_at(Placement::kOtherCore, 16), 100, 400, 200, 300);
  rows.add_all(spot_at(Placement::kBusy, 16, "null 50 us"), 100, 50, 25, 100);
  return std::move(rows.report());
}

TEST(StudyTables, ListThoseThatMissAndSumUp) {
  const StudyReport report = small_report();
  const auto tables = make_tables(report);
  ASSERT_THAT(tables, SizeIs(4)) << "the whole, the misses, two media";
  ASSERT_THAT(tables[0].rows, SizeIs(8)) << "three ways and the best, by each objective";
  EXPECT_EQ(tables[0].rows[0][1], "sync");
  EXPECT_EQ(tables[0].rows[0][3], "1.82");  // the cube root of 2 * 3 * 1
  EXPECT_EQ(tables[0].rows[3][1], "the best of each cell");
  ASSERT_THAT(tables[1].rows, SizeIs(2));
  EXPECT_EQ(tables[1].rows[0][0], "randread x16 other-core, 1 vCPU, tmpfs");
  EXPECT_EQ(tables[1].rows[0][1], "throughput");
  EXPECT_EQ(tables[1].rows[0][2], "ioeventfd");
  EXPECT_EQ(tables[1].rows[0][3], "400");
  EXPECT_EQ(tables[1].rows[0][4], "300");
  EXPECT_EQ(tables[1].rows[0][6], "missed");
  EXPECT_EQ(tables[1].rows[1][1], "efficiency");
  EXPECT_THAT(tables[2].caption, HasSubstr("Every cell on tmpfs: "));
  ASSERT_THAT(tables[2].rows, SizeIs(2));
  EXPECT_EQ(tables[2].rows[0][4], "50.0");
  EXPECT_EQ(tables[2].rows[0][7], "100");
  EXPECT_THAT(tables[3].caption, HasSubstr("Every cell on null 50 us: "));
  EXPECT_THAT(tables[3].caption, Not(HasSubstr("aio=")));
  StudyRows fixed;
  fixed.add(spot_at(Placement::kFree, 1), kSync, 1, 1);
  EXPECT_THAT(make_tables(fixed.report())[1].empty, HasSubstr("was not measured"));
}

TEST(StudyTables, HaveLatenciesWhereAdaptiveLookedAtThem) {
  StudyRows rows;
  const Spot spot = spot_at(Placement::kOtherCore, 16);
  for (const auto& [way, us] : {std::pair{kSync, 40.0}, {kEvent, 125.0}, {kQuick, 41.0}}) {
    rows.add(spot, way, 100, 100, 0.01, false, us);
  }
  const Table table = make_tables(rows.report())[2];
  ASSERT_THAT(table.columns, SizeIs(4U + 3 * 5));
  EXPECT_EQ(table.columns[14].group, "median latency, µs");
  EXPECT_EQ(table.rows[0][14], "40.0");
  EXPECT_EQ(table.rows[0][15], "125");
  EXPECT_EQ(table.rows[0][17], "41.0");
  const auto json = to_json(rows.report())["study"]["adaptive_against_best"][0];
  EXPECT_EQ(json["objective"], "latency");
  EXPECT_NEAR(json["best_value"].get<double>(), 40, 1e-3) << "microseconds";
  ASSERT_THAT(make_page(rows.report()).scatters, SizeIs(1));
  EXPECT_THAT(to_html(make_page(rows.report()), rows.report()), HasSubstr("class=\"series5\""));
}

TEST(StudyPage, OpensWithTheFindingsAndHasAScatterForEachGroup) {
  const StudyReport report = small_report();
  const Page page = make_page(report);
  EXPECT_EQ(page.findings, find_in(report));
  ASSERT_THAT(page.scatters, SizeIs(2));
  EXPECT_THAT(page.scatters[0].points, SizeIs(10));
  EXPECT_EQ(page.scatters[0].caption, "Random reads, other-core, 1 vCPU, on tmpfs");
  EXPECT_EQ(page.scatters[0].points[0].label, "x1");
  ASSERT_FALSE(page.notes.empty());
  EXPECT_THAT(page.notes[0], ::testing::StartsWith("Along threads, by throughput:"));
  const std::string html = to_html(page, report);
  const auto first = html.find("By throughput, of 3 cells");
  ASSERT_NE(first, std::string::npos);
  EXPECT_LT(first, html.find("<table"));
  EXPECT_LT(first, html.find("<svg"));
  EXPECT_THAT(html, HasSubstr("class=\"series4\""));
  EXPECT_THAT(html, HasSubstr("within 5 % of the best"));
}

TEST(StudyJson, HasTheFindingsAndWhatTheyAreMadeOf) {
  const StudyReport report = small_report();
  const auto json = to_json(report);
  EXPECT_EQ(json["findings"].get<std::vector<std::string>>(), find_in(report));
  const auto& study = json["study"];
  ASSERT_THAT(study["adaptive_against_best"], SizeIs(6));
  EXPECT_EQ(study["adaptive_against_best"][1]["best"], "ioeventfd");
  EXPECT_EQ(study["adaptive_against_best"][1]["goal"], "missed");
  EXPECT_NEAR(study["adaptive_against_best"][1]["to_best"]["ratio"].get<double>(), 0.75, 1e-6);
  ASSERT_THAT(study["whole"], SizeIs(8));
  EXPECT_EQ(study["whole"][3]["beside"], "best");
  EXPECT_FALSE(study["crossovers"].empty());
  ASSERT_THAT(json["runs"], SizeIs(15));
  const auto& file = json["runs"][0];
  EXPECT_EQ(file["medium"], "tmpfs");
  EXPECT_TRUE(file["medium_latency_us"].is_null());
  EXPECT_EQ(file["verified"], true);
  EXPECT_TRUE(file["optimize"].is_null());
  const auto& null = json["runs"][14];
  EXPECT_EQ(null["medium_latency_us"], 50.0);
  EXPECT_EQ(null["backend"], "null");
  EXPECT_EQ(null["verified"], false) << "nothing was there to be checked";
  EXPECT_EQ(null["optimize"], "efficiency");
  // Two fixed ways to sync, and both of adaptive to all three.
  EXPECT_THAT(json["comparisons"], SizeIs(3U * (2 + 2 * 3)));
  const auto earlier = earlier_in<Measurement>(json, 7);
  ASSERT_TRUE(earlier.has_value()) << earlier.error().message;
  EXPECT_THAT(*earlier, SizeIs(15)) << "--resume finds each cell by its name";
  const std::string csv = to_csv(report);
  EXPECT_EQ(std::ranges::count(csv, '\n'), 16);
  EXPECT_THAT(csv.substr(0, csv.find('\n')), HasSubstr("medium_latency_us"));
}

TEST(Scatters, AreEmptyWithoutPointsAndKeepInsideTheirPicture) {
  Scatter scatter{"a <b>", "MB/s", "MB per CPU s", {"one", "two"}, {}};
  EXPECT_THAT(to_svg(scatter), IsEmpty());
  scatter.points = {{0, "x1", 0, 5}};
  EXPECT_THAT(to_svg(scatter), IsEmpty()) << "no logarithm of 0";
  scatter.points = {{0, "x1", 10, 100}, {1, "x16", 1000, 1}};
  const std::string svg = to_svg(scatter);
  EXPECT_THAT(svg, HasSubstr("aria-label=\"a &lt;b&gt;\""));
  EXPECT_THAT(svg, HasSubstr("<title>two, x16: 1000.0 MB/s, 1.0 MB per CPU s</title>"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("-inf")));
  scatter.points = {{0, "x1", 10, 100}};
  EXPECT_THAT(to_svg(scatter), HasSubstr("<circle")) << "a single point has room around it";
}

}  // namespace
}  // namespace bellhop::bench
