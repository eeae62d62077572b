#include "bench/report/results.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/blk/blk_page.h"
#include "bench/blk/blk_tables.h"
#include "bench/report/html_report.h"

namespace bellhop::bench {
namespace {

Run summary(const BlkCell& cell, std::vector<Measurement> measurements) {
  return summarise(cell, std::move(measurements));
}

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

Measurement measured(double megabytes_per_s, double cpu_s) {
  Measurement m;
  m.seconds = 2;
  m.bytes = static_cast<std::uint64_t>(megabytes_per_s * 2e6);
  m.operations = m.bytes / 4096;
  m.host_cpu_s = cpu_s;
  m.vcpu_cpu_s = cpu_s / 4;
  m.io_cpu_s = cpu_s - m.vcpu_cpu_s;
  m.latency = {10, 20, 30, 40};
  m.counters.kicks = 7;
  return m;
}

BlkCell cell(Vmm vmm, NotifyMode notify) {
  return {Workload::kRandRead, 16, 1, Placement::kOtherCore, vmm, notify};
}

BlkReport fixed_report() {
  BlkReport report;
  report.host = {{"cpus", 2}};
  report.floors = {{"ioeventfd_kick_us", 3.1}};
  report.setting.medium = "tmpfs";
  report.setting.programs = {"0.1.0", {{"/usr/bin/qemu", "7.2"}}};
  report.runs = {
      summary(cell(Vmm::kBellhop, NotifyMode::kSync), {measured(100, 2)}),
      summary(cell(Vmm::kBellhop, NotifyMode::kIoEventFd),
              {measured(180, 2), measured(150, 2), measured(140, 2)}),
      summary(cell(Vmm::kQemu, NotifyMode::kSync), {measured(80, 2)}),
      summary(cell(Vmm::kQemu, NotifyMode::kIoEventFd), {measured(100, 2.5)}),
  };
  report.not_run = {{"bellhop create x1", "no <room>", true}};
  report.disturbed = "disturbed: <one>";
  return report;
}

TEST(Summarise, TakesTheRepeatInTheMiddleAndTheSpread) {
  const bench::Run run = summary(cell(Vmm::kBellhop, NotifyMode::kSync),
                                 {measured(30, 1), measured(10, 3), measured(20, 2)});
  EXPECT_EQ(run.repeats, 3U);
  EXPECT_DOUBLE_EQ(run.median.mb_per_s(), 20);
  EXPECT_DOUBLE_EQ(run.median.host_cpu_s, 2);
  EXPECT_DOUBLE_EQ(run.least_mb_per_s, 10);
  EXPECT_DOUBLE_EQ(run.most_mb_per_s, 30);
}

TEST(Summarise, TheMedianOfEfficiencyIsItsOwn) {
  const bench::Run run = summary(cell(Vmm::kBellhop, NotifyMode::kSync),
                                 {measured(30, 6), measured(10, 1), measured(20, 1)});
  EXPECT_DOUBLE_EQ(run.median.mb_per_s(), 20);
  EXPECT_DOUBLE_EQ(run.bytes_per_host_cpu_s, 20e6) << "of the repeat with 10 MB/s";
  EXPECT_DOUBLE_EQ(run.least_bytes_per_host_cpu_s, 10e6);
  EXPECT_DOUBLE_EQ(run.most_bytes_per_host_cpu_s, 40e6);
}

TEST(Summarise, TakesTheLowerOfTwoInTheMiddle) {
  const bench::Run run =
      summary(cell(Vmm::kBellhop, NotifyMode::kSync),
              {measured(40, 1), measured(30, 1), measured(20, 1), measured(10, 1)});
  EXPECT_DOUBLE_EQ(run.median.mb_per_s(), 20);
}

TEST(Measurement, DividesByWhatWasMeasured) {
  const Measurement m = measured(100, 4);
  EXPECT_DOUBLE_EQ(m.mb_per_s(), 100);
  EXPECT_DOUBLE_EQ(m.bytes_per_host_cpu_s(), 50e6);
  EXPECT_DOUBLE_EQ(Measurement{}.mb_per_s(), 0);
  EXPECT_DOUBLE_EQ(Measurement{}.bytes_per_host_cpu_s(), 0);
}

TEST(Json, HasTheSharedSchema) {
  const auto json = to_json(fixed_report());
  EXPECT_EQ(json["schema"], 1);
  EXPECT_EQ(json["host"]["cpus"], 2);
  ASSERT_EQ(json["runs"].size(), 4U);
  const auto& run = json["runs"][1];
  for (const char* name : {"vmm",           "vmm_version", "guest",       "vcpus",
                           "device",        "transport",   "ring",        "queues",
                           "workload",      "threads",     "block_bytes", "direction",
                           "message_bytes", "backend",     "cache",       "medium",
                           "notify",        "placement",   "repeat",      "seconds",
                           "operations",    "bytes",       "mb_per_s",    "iops",
                           "host_cpu_s",    "vcpu_cpu_s",  "io_cpu_s",    "bytes_per_host_cpu_s",
                           "latency_us",    "counters",    "verified",    "spread",
                           "io_system_s",   "run_delay_s", "steal_s",     "all_repeats",
                           "optimize"}) {
    EXPECT_TRUE(run.contains(name)) << name;
  }
  EXPECT_EQ(run["notify"], "ioeventfd");
  EXPECT_TRUE(run["optimize"].is_null());
  EXPECT_EQ(run["placement"], "other-core");
  EXPECT_EQ(run["mb_per_s"], 150);
  EXPECT_EQ(run["spread"][0], 140);
  EXPECT_EQ(run["spread"][1], 180);
  ASSERT_EQ(run["all_repeats"].size(), 3U);
  EXPECT_EQ(run["all_repeats"][0]["mb_per_s"], 180) << "in the order in which they came";
  EXPECT_EQ(run["counters"]["kicks"], 7);
  EXPECT_TRUE(run["counters"]["userspace_exits"].is_null());
  EXPECT_TRUE(run["counters"]["wakeups_other_core"].is_null());
  EXPECT_TRUE(run["vmm_path"].is_null());
  EXPECT_EQ(json["runs"][2]["vmm"], "qemu");
  EXPECT_EQ(json["runs"][2]["vmm_version"], "7.2");
  EXPECT_EQ(json["runs"][2]["vmm_path"], "/usr/bin/qemu");
  EXPECT_EQ(json["not_run"][0]["reason"], "no <room>");
}

TEST(Csv, HasOneLineARunAndDottedNames) {
  const std::string csv = to_csv(fixed_report());
  EXPECT_EQ(std::ranges::count(csv, '\n'), 5);
  const std::string head = csv.substr(0, csv.find('\n'));
  EXPECT_THAT(head, AllOf(HasSubstr("vmm,vmm_version,vmm_path"), HasSubstr("latency_us.p999"),
                          HasSubstr("counters.kicks"), HasSubstr("spread.min,spread.max")));
  const std::string line = csv.substr(head.size() + 1, csv.find('\n', head.size() + 1));
  EXPECT_THAT(line, HasSubstr("bellhop,0.1.0,,bench,1,blk,pci,split,1,randread,16,4096,,,native"));
}

TEST(Tables, HaveThePatchOf2010BesideToday) {
  const auto tables = make_tables(fixed_report());
  ASSERT_EQ(tables.size(), 2U);
  const std::string own = to_text(tables[0]);
  EXPECT_THAT(own, AllOf(HasSubstr("Random reads"), HasSubstr("100.0"), HasSubstr("150.0"),
                         HasSubstr("+50 %"), HasSubstr("43.3"), HasSubstr("47.8"),
                         HasSubstr("+10 %"), HasSubstr("1.50")));
  const std::string peer = to_text(tables[1]);
  // 100/80 and 150/100; 100/80 and 150/80 for each CPU second.
  EXPECT_THAT(peer, AllOf(HasSubstr("QEMU 7.2 (/usr/bin/qemu)"), HasSubstr("1.25"),
                          HasSubstr("1.50"), HasSubstr("1.88")));
}

TEST(Tables, TellTwoQemusApart) {
  BlkReport report = fixed_report();
  report.setting.programs.qemus.push_back({"/opt/qemu", "10.0.2"});
  const Vmm second{Vmm::Kind::kQemu, 1};
  report.runs.push_back(summary(cell(second, NotifyMode::kSync), {measured(200, 2)}));
  report.not_run.push_back({describe(cell(second, NotifyMode::kIoEventFd)), "no room", true});
  const auto tables = make_tables(report);
  ASSERT_EQ(tables.size(), 3U);
  EXPECT_THAT(to_text(tables[1]), AllOf(HasSubstr("QEMU 7.2 (/usr/bin/qemu)"), HasSubstr("1.25")));
  EXPECT_THAT(to_text(tables[2]), AllOf(HasSubstr("QEMU 10.0.2 (/opt/qemu)"), HasSubstr("0.50")));
  EXPECT_EQ(to_json(report)["runs"][4]["vmm_path"], "/opt/qemu");
  EXPECT_THAT(to_csv(report), HasSubstr("qemu,10.0.2,/opt/qemu,bench"));
  EXPECT_THAT(to_html(make_page(report), report), HasSubstr("QEMU 10.0.2 (/opt/qemu)"));
  EXPECT_THAT(plot_script(make_page(report).charts.at(0)), HasSubstr("title 'QEMU 10.0.2 sync"));
  EXPECT_THAT(not_run_text(report), HasSubstr("qemu#2 randread x16 ioeventfd"));
  report.setting.programs.qemus[1].version = "7.2";
  EXPECT_THAT(plot_script(make_page(report).charts.at(0)),
              HasSubstr("title 'QEMU 7.2 (/opt/qemu) sync"));
}

TEST(Tables, LeaveOutWhatWasNotMeasured) {
  BlkReport report = fixed_report();
  report.runs.resize(1);
  const auto tables = make_tables(report);
  ASSERT_EQ(tables.size(), 1U);
  EXPECT_THAT(tables[0].rows.at(0).at(3), "–");
  EXPECT_THAT(not_run_text(report), HasSubstr("bellhop create x1: no <room>"));
}

TEST(Spread, IsUnknownOfASingleRepeat) {
  BlkReport report = fixed_report();
  report.runs.erase(report.runs.begin() + 1);
  report.setting.repeats = 1;
  const auto tables = make_tables(report);
  EXPECT_EQ(tables[0].rows.at(0).at(5), "– / –");
  EXPECT_EQ(tables[1].rows.at(0).at(5), "– / –");
  EXPECT_THAT(to_html(make_page(report), report), HasSubstr("<td>– / –</td>"));
  EXPECT_TRUE(to_json(report)["runs"][0]["spread"][0].is_null());
  EXPECT_TRUE(to_json(report)["runs"][0]["spread"][1].is_null());
  // mb_per_s, the spread, iops
  EXPECT_THAT(to_csv(report), HasSubstr(",100.0,,,24414"));
  EXPECT_THAT(make_page(report).findings.at(0), HasSubstr("there is no spread"));
}

TEST(Tables, AreAlignedWhateverCharactersTheyHold) {
  const Table table{"", {{"", "a"}, {"", "b"}}, {{"–", "1"}, {"22", "2"}}};
  EXPECT_THAT(to_text(table), HasSubstr("\n –  1\n22  2\n"));
}

TEST(Html, IsOnePageWithTablesAndWithoutMarkupFromOutside) {
  const std::string html = to_html(make_page(fixed_report()), fixed_report());
  EXPECT_THAT(html, AllOf(HasSubstr("<!DOCTYPE html>"), HasSubstr("<table>"), HasSubstr("43.3"),
                          HasSubstr("no &lt;room&gt;"), HasSubstr("disturbed: &lt;one&gt;"),
                          HasSubstr("</html>")));
  EXPECT_THAT(html, Not(HasSubstr("no <room>")));
  EXPECT_THAT(html, Not(HasSubstr("src=")));
  EXPECT_TRUE(html.find("<svg") != std::string::npos || html.find("No plots") != std::string::npos);
}

TEST(Plots, NameEverySeriesAndMarkWhatIsMissing) {
  BlkReport report = fixed_report();
  report.runs.push_back(
      summary({Workload::kCreate, 1, 1, Placement::kOtherCore, Vmm::kBellhop, NotifyMode::kSync},
              {measured(10, 1)}));
  const std::string script = plot_script(make_page(report).charts.at(0));
  EXPECT_THAT(script, AllOf(HasSubstr("\"randread x16\" 100.000 150.000 80.000 100.000"),
                            HasSubstr("\"create x1\" 10.000 NaN NaN NaN"),
                            HasSubstr("title 'QEMU 7.2 ioeventfd, other-core, 1 vCPU'")));
}

}  // namespace
}  // namespace bellhop::bench
