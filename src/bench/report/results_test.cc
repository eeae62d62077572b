#include "bench/report/results.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/blk/blk_page.h"
#include "bench/blk/blk_tables.h"
#include "bench/harness/measurement_json.h"
#include "bench/report/html_report.h"

namespace bellhop::bench {
namespace {

Run summary(const BlkCell& cell, std::vector<Measurement> measurements) {
  return summarise(cell, std::move(measurements));
}

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

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
  return report;
}

TEST(Summarise, TakesTheRepeatInTheMiddleAndTheSpread) {
  const bench::Run run = summary(cell(Vmm::kBellhop, NotifyMode::kSync),
                                 {measured(30, 1), measured(10, 3), measured(20, 2)});
  EXPECT_EQ(run.repeats(), 3U);
  EXPECT_DOUBLE_EQ(run.median.mb_per_s(), 20);
  EXPECT_DOUBLE_EQ(run.median.host_cpu_s, 2);
  EXPECT_DOUBLE_EQ(run.throughput().least(), 10);
  EXPECT_DOUBLE_EQ(run.throughput().most(), 30);
}

TEST(Summarise, TheMedianOfEfficiencyIsItsOwn) {
  const bench::Run run = summary(cell(Vmm::kBellhop, NotifyMode::kSync),
                                 {measured(30, 6), measured(10, 1), measured(20, 1)});
  EXPECT_DOUBLE_EQ(run.throughput().median(), 20);
  EXPECT_DOUBLE_EQ(run.efficiency().median(), 20e6) << "of the repeat with 10 MB/s";
  EXPECT_DOUBLE_EQ(run.efficiency().least(), 10e6);
  EXPECT_DOUBLE_EQ(run.efficiency().most(), 40e6);
}

TEST(Summarise, OfAnEvenNumberTheCountersAreTheLowerOnes) {
  const bench::Run run =
      summary(cell(Vmm::kBellhop, NotifyMode::kSync),
              {measured(40, 1), measured(30, 1), measured(20, 1), measured(10, 1)});
  EXPECT_DOUBLE_EQ(run.median.mb_per_s(), 20);
  EXPECT_DOUBLE_EQ(run.throughput().median(), 25);
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
  EXPECT_EQ(json["schema"], 2);
  EXPECT_EQ(json["host"]["cpus"], 2);
  ASSERT_EQ(json["runs"].size(), 4U);
  const auto& run = json["runs"][1];
  for (const char* name : {"vmm",
                           "vmm_version",
                           "guest",
                           "vcpus",
                           "device",
                           "transport",
                           "ring",
                           "queues",
                           "workload",
                           "threads",
                           "block_bytes",
                           "direction",
                           "message_bytes",
                           "backend",
                           "cache",
                           "medium",
                           "notify",
                           "placement",
                           "repeat",
                           "seconds",
                           "operations",
                           "bytes",
                           "mb_per_s",
                           "iops",
                           "host_cpu_s",
                           "vcpu_cpu_s",
                           "io_cpu_s",
                           "bytes_per_host_cpu_s",
                           "latency_us",
                           "counters",
                           "verified",
                           "spread",
                           "io_system_s",
                           "run_delay_s",
                           "steal_s",
                           "all_repeats",
                           "optimize",
                           "cell",
                           "two_peaks",
                           "rejected_repeats",
                           "vcpu_run_delay_s",
                           "io_run_delay_s"}) {
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
  EXPECT_EQ(json["seed"], 1);
  EXPECT_EQ(json["complete"], true);
}

TEST(Json, HasEveryComparisonWithItsInterval) {
  const auto json = to_json(fixed_report());
  // ioeventfd to sync, of both; Bellhop to QEMU, in both ways.
  ASSERT_EQ(json["comparisons"].size(), 4U);
  BlkReport report = fixed_report();
  report.runs[0] =
      summary(report.runs[0].cell, {measured(100, 2), measured(90, 2), measured(95, 2)});
  const auto one = to_json(report)["comparisons"][1];
  EXPECT_EQ(one["cell"], "bellhop randread x16 ioeventfd other-core, 1 vCPU");
  EXPECT_EQ(one["base"], "bellhop randread x16 sync other-core, 1 vCPU");
  EXPECT_DOUBLE_EQ(one["mb_per_s"]["ratio"], 150.0 / 95);
  EXPECT_EQ(one["mb_per_s"]["verdict"], "above");
  EXPECT_LE(one["mb_per_s"]["interval"][0], 150.0 / 95);
  EXPECT_GE(one["mb_per_s"]["interval"][1], 150.0 / 95);
  EXPECT_EQ(to_json(report)["comparisons"][0]["mb_per_s"]["verdict"], "single repeats");
  report.runs[0].all[0].disturbed = true;
  const auto refused = to_json(report)["comparisons"][1]["mb_per_s"];
  EXPECT_EQ(refused["verdict"], "disturbed");
  EXPECT_TRUE(refused["ratio"].is_null());
}

TEST(Json, ARepeatIsReadBackAsItWasWritten) {
  Measurement m = measured(100, 2);
  m.vcpu_run_delay_s = 0.25;
  m.steal_s = 0.5;
  m.disturbed = true;
  m.counters.system_calls = 9;
  const auto json = to_json(m);
  Measurement back;
  ASSERT_TRUE(from_json(json, back).has_value());
  EXPECT_EQ(to_json(back), json);
  EXPECT_FALSE(back.io_run_delay_s.has_value());
  EXPECT_EQ(back.counters.system_calls, 9U);
  for (const auto& [name, value] : json.items()) {
    if (name == "mb_per_s" || name == "bytes_per_host_cpu_s") continue;  // follow from others
    auto without = json;
    without.erase(name);
    EXPECT_FALSE(from_json(without, back).has_value()) << name;
    without[name] = "x";
    EXPECT_FALSE(from_json(without, back).has_value()) << name;
  }
  auto negative = json;
  negative["seconds"] = -1;
  EXPECT_FALSE(from_json(negative, back).has_value());
  EXPECT_FALSE(from_json(nlohmann::ordered_json(), back).has_value());
}

TEST(Csv, HasOneLineARunAndDottedNames) {
  const std::string csv = to_csv(fixed_report());
  EXPECT_EQ(std::ranges::count(csv, '\n'), 5);
  const std::string head = csv.substr(0, csv.find('\n'));
  EXPECT_THAT(head, AllOf(HasSubstr("vmm,vmm_version,vmm_path"), HasSubstr("latency_us.p999"),
                          HasSubstr("counters.kicks"), HasSubstr("spread.min,spread.max")));
  const std::string line = csv.substr(head.size() + 1, csv.find('\n', head.size() + 1));
  EXPECT_THAT(line, HasSubstr("bellhop,0.1.0,,,bench,1,blk,pci,split,1,randread,16,4096,,,native"));
}

TEST(Tables, HaveThePatchOf2010BesideToday) {
  const auto tables = make_tables(fixed_report());
  ASSERT_EQ(tables.size(), 3U);
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
  ASSERT_EQ(tables.size(), 4U);
  EXPECT_THAT(to_text(tables[1]), AllOf(HasSubstr("QEMU 7.2 (/usr/bin/qemu)"), HasSubstr("1.25")));
  EXPECT_THAT(to_text(tables[2]), AllOf(HasSubstr("QEMU 10.0.2 (/opt/qemu)"), HasSubstr("0.50")));
  EXPECT_EQ(to_json(report)["runs"][4]["vmm_path"], "/opt/qemu");
  EXPECT_THAT(to_csv(report), HasSubstr("qemu,10.0.2,/opt/qemu,false,bench"));
  EXPECT_THAT(to_html(make_page(report), report), HasSubstr("QEMU 10.0.2 (/opt/qemu)"));
  EXPECT_THAT(not_run_text(report), HasSubstr("qemu#2 randread x16 ioeventfd"));
}

TEST(Tables, LeaveOutWhatWasNotMeasuredAndNameWhatFailed) {
  BlkReport report = fixed_report();
  report.runs.resize(1);
  const auto tables = make_tables(report);
  ASSERT_EQ(tables.size(), 2U);
  EXPECT_EQ(tables[0].rows.at(0).at(3), "–");
  EXPECT_THAT(not_run_text(report), HasSubstr("Failed: no <room>\n  bellhop create x1\n"));
  report.not_run.push_back({describe(cell(Vmm::kBellhop, NotifyMode::kIoEventFd)),
                            "no answer from the guest in time", true});
  EXPECT_EQ(make_tables(report)[0].rows.at(0).at(3), "failed");
}

TEST(NotRun, HasEachReasonOnce) {
  BlkReport report;
  report.not_run = {{"a", "no room", false}, {"b", "it broke", true}, {"c", "no room", false}};
  EXPECT_EQ(not_run_text(report), "Failed: it broke\n  b\nNot run: no room\n  a\n  c\n");
}

TEST(Spread, IsUnknownOfASingleRepeat) {
  BlkReport report = fixed_report();
  report.runs.erase(report.runs.begin() + 1);
  report.setting.rounds = {1, 1};
  const auto tables = make_tables(report);
  EXPECT_EQ(tables[0].rows.at(0).at(5), "– / –");
  EXPECT_EQ(tables[1].rows.at(0).at(5), "– / –");
  EXPECT_EQ(tables[1].rows.at(0).at(4), "+25 % (–)");
  EXPECT_THAT(tables[0].caption, AllOf(HasSubstr("one run of 3 s"), Not(HasSubstr("median"))));
  EXPECT_THAT(to_html(make_page(report), report), HasSubstr("<td>– / –</td>"));
  EXPECT_TRUE(to_json(report)["runs"][0]["spread"][0].is_null());
  EXPECT_TRUE(to_json(report)["runs"][0]["spread"][1].is_null());
  // mb_per_s and the spread
  EXPECT_THAT(to_csv(report), HasSubstr(",100.0,,,"));
  EXPECT_THAT(make_page(report).findings.at(0), HasSubstr("there is no spread"));
}

TEST(Gains, WithinTheNoiseAreMarked) {
  BlkReport report = fixed_report();
  const auto set = [&report](std::size_t run, const std::vector<double>& speeds) {
    std::vector<Measurement> repeats;
    repeats.reserve(speeds.size());
    for (const double speed : speeds) repeats.push_back(measured(speed, 2));
    report.runs[run] = summary(report.runs[run].cell, std::move(repeats));
  };
  set(0, {100, 120, 90, 110, 100});
  set(1, {110, 100, 115, 90, 105});
  EXPECT_THAT(make_tables(report)[0].rows[0][4].text, ::testing::StartsWith("within noise ("));
  set(1, {160, 170, 150, 165, 155});
  EXPECT_THAT(make_tables(report)[0].rows[0][4].text, ::testing::StartsWith("+60 % (+"));
  report.runs[1].all[2].disturbed = true;
  EXPECT_EQ(make_tables(report)[0].rows[0][4], "disturbed");
  report.comparing.accept_disturbed = true;
  EXPECT_THAT(make_tables(report)[0].rows[0][4].text, ::testing::StartsWith("+60 % (+"));
}

TEST(WhereBellhopLoses, StandsInEveryReport) {
  BlkReport report = fixed_report();
  EXPECT_THAT(to_text(make_tables(report).back()), HasSubstr("Where Bellhop loses"));
  EXPECT_THAT(to_text(make_tables(report).back()), HasSubstr("None."));
  const auto set = [&report](std::size_t run, double speed, double cpu_s) {
    report.runs[run] =
        summary(report.runs[run].cell,
                {measured(speed, cpu_s), measured(speed + 1, cpu_s), measured(speed - 1, cpu_s)});
  };
  set(0, 100, 1);
  set(1, 150, 3);  // more for less efficiency
  set(2, 50, 1);
  set(3, 200, 3.5);  // QEMU is ahead, and more efficient
  const Table losses = make_tables(report).back();
  ASSERT_EQ(losses.rows.size(), 2U);
  EXPECT_EQ(losses.rows[0][1], "sync");
  EXPECT_THAT(losses.rows[0][3].text, HasSubstr("0.50 (0."));
  EXPECT_EQ(losses.rows[1][1], "QEMU 7.2");
  EXPECT_THAT(losses.rows[1][2].text, HasSubstr("0.75 (0."));
  report.setting.rounds = {1, 1};
  report.runs.resize(1);
  EXPECT_THAT(to_text(make_tables(report).back()), HasSubstr("Nothing was compared"));
}

TEST(Captions, SayWhatNativeMeansOnTmpfs) {
  const BlkReport report = fixed_report();
  EXPECT_THAT(make_tables(report)[0].caption, HasSubstr("preadv"));
  EXPECT_THAT(make_tables(report)[1].caption, HasSubstr("io_submit in QEMU"));
  BlkReport disk = report;
  disk.setting.medium = "ext4";
  EXPECT_THAT(make_tables(disk)[0].caption, Not(HasSubstr("preadv")));
}

}  // namespace
}  // namespace bellhop::bench
