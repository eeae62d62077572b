#include "bench/notify/notify_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bellhop::bench {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

NotifyReport notify_report() {
  NotifyReport report;
  report.host = {{"cpus", 2}, {"cpu_model", "<slow>"}};
  report.kicks = 5000;
  report.bare_exit.repeats_us = {20, 30, 25};
  report.sync.repeats_us = {30, 26, 28};
  report.bare_event.repeats_us = {2, 2.5, 3};
  report.bare_waited.repeats_us = {4, 4, 5};
  report.ioeventfd.repeats_us = {2, 3, 9};
  return report;
}

TEST(NotifyResultTest, TakesTheRepeatInTheMiddle) {
  EXPECT_DOUBLE_EQ(notify_report().ioeventfd.median_us(), 3);
  EXPECT_DOUBLE_EQ(NotifyResult{}.median_us(), 0);
}

TEST(NotifyPage, HasEveryKindWithItsRatioToTheFloor) {
  const Page page = make_page(notify_report());
  ASSERT_EQ(page.tables.size(), 2U);
  ASSERT_EQ(page.tables[0].rows.size(), 5U);
  const std::string text = to_text(page.tables[0]);
  EXPECT_THAT(text, AllOf(HasSubstr("3 repeats"), HasSubstr("5000 kicks"), HasSubstr("25.00"),
                          HasSubstr("within noise (0.87-1.50)"), HasSubstr("1.60 (1.60-2.00)")));
  EXPECT_THAT(to_text(page.tables[1]), HasSubstr("Where Bellhop loses"));
}

TEST(NotifyPage, OpensWithWhatWasFound) {
  NotifyReport report = notify_report();
  const auto findings = make_page(report).findings;
  ASSERT_EQ(findings.size(), 2U);
  EXPECT_THAT(findings[0], HasSubstr("A kick that exits takes the guest 28.00 us, within noise ("));
  EXPECT_THAT(findings[1], AllOf(HasSubstr("A kick by ioeventfd takes the guest 3.00 us, "),
                                 HasSubstr("and 0.11 (0.07-0.32) of a kick that exits.")));
  EXPECT_EQ(make_page(report).headline,
            "On this host a kick by ioeventfd takes the guest 3.00 us, and one that exits 28.00.");
  report.sync.repeats_us = {50, 60, 55};
  EXPECT_THAT(make_page(report).findings[0], HasSubstr("55.00 us, 2.20 (2.00-2.50) times a bare"));
  ASSERT_EQ(make_page(report).tables[1].rows.size(), 1U);
  EXPECT_EQ(make_page(report).tables[1].rows[0][0], "bellhop sync");
}

TEST(NotifyPage, OfAnInterruptedRunHasNoFigure) {
  EXPECT_TRUE(make_page(NotifyReport{}).tables.empty());
  EXPECT_TRUE(NotifyReport{}.is_empty());
}

TEST(NotifyPage, ASingleRepeatHasNoSpread) {
  NotifyReport report = notify_report();
  for (NotifyResult* one : {&report.bare_exit, &report.sync, &report.bare_event,
                            &report.bare_waited, &report.ioeventfd}) {
    one->repeats_us.resize(1);
  }
  const Page page = make_page(report);
  EXPECT_THAT(page.findings.at(0), HasSubstr("there is no spread"));
  EXPECT_THAT(page.tables[0].caption, Not(HasSubstr("median of 1")));
  EXPECT_EQ(page.tables[0].columns[1].name, "measured");
  EXPECT_EQ(page.tables[0].rows[0][2], "–");
  EXPECT_EQ(page.tables[0].rows[0][3], "–");
  EXPECT_THAT(to_csv(report), HasSubstr("bare_exit,1,5000,20.0,,,\n"));
  EXPECT_TRUE(to_json(report)["notify"]["bare_exit"]["spread_us"][0].is_null());
}

TEST(NotifyPage, IsHtmlWithoutMarkupFromOutside) {
  const NotifyReport report = notify_report();
  const std::string html = to_html(make_page(report), report);
  EXPECT_THAT(
      html, AllOf(HasSubstr("<title>Bellhop: what a notification"), HasSubstr("<table>"),
                  HasSubstr("bellhop ioeventfd"), HasSubstr("&lt;slow&gt;"), HasSubstr("</html>")));
  EXPECT_THAT(html, Not(HasSubstr("<slow>")));
}

TEST(NotifyJson, HasMedianSpreadAndRatio) {
  const auto json = to_json(notify_report());
  EXPECT_EQ(json["schema"], 2);
  EXPECT_EQ(json["notify"]["bare_exit"]["all_repeats_us"].size(), 3U);
  EXPECT_EQ(json["host"]["cpus"], 2);
  EXPECT_EQ(json["notify"]["repeat"], 3);
  EXPECT_EQ(json["notify"]["kicks"], 5000);
  EXPECT_EQ(json["notify"]["bare_exit"]["median_us"], 25);
  EXPECT_FALSE(json["notify"]["bare_exit"].contains("times_floor"));
  EXPECT_EQ(json["notify"]["bellhop_sync"]["times_floor"], 1.12);
  EXPECT_EQ(json["notify"]["bellhop_ioeventfd"]["spread_us"][1], 9);
  EXPECT_EQ(json["notify"]["bellhop_ioeventfd"]["times_waited_floor"], 0.75);
}

TEST(NotifyCsv, HasALineForEachKind) {
  const std::string csv = to_csv(notify_report());
  EXPECT_THAT(
      csv, ::testing::StartsWith("notification,repeat,kicks,median_us,spread_us.min,spread_us.max,"
                                 "times_floor\nbare_exit,3,5000,25.0,20.0,30.0,\n"));
  EXPECT_THAT(csv, HasSubstr("\nbellhop_ioeventfd,3,5000,3.0,2.0,9.0,1.2\n"));
  EXPECT_EQ(std::ranges::count(csv, '\n'), 6);
}

}  // namespace
}  // namespace bellhop::bench
