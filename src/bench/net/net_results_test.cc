#include "bench/net/net_results.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/net/net_command.h"
#include "bench/net/net_page.h"
#include "bench/net/net_runner.h"
#include "bench/net/net_tables.h"
#include "bench/report/patch_2010.h"

namespace bellhop::bench {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

NetCell stream(Vmm vmm, NetNotify notify, Direction direction = Direction::kGuestToHost) {
  NetCell cell;
  cell.direction = direction;
  cell.message_bytes = 4096;
  cell.placement = Placement::kOtherCore;
  cell.vmm = vmm;
  cell.notify = notify;
  return cell;
}

/// So many megabits of payload in one second, by so much CPU time.
NetMeasurement measured_net(double megabits, double cpu_s) {
  NetMeasurement m;
  m.seconds = 1;
  m.bytes = static_cast<std::uint64_t>(megabits * 1e6 / 8);
  m.operations = m.bytes / 4096;
  m.datagrams = m.bytes / 1400;
  m.datagrams_sent = 1000;
  m.lost = 5;
  m.host_cpu_s = cpu_s;
  return m;
}

NetReport net_report() {
  NetReport report;
  report.setting.programs.qemus = {{"/usr/bin/qemu", "7.2"}};
  const auto add = [&report](const NetCell& cell, const NetMeasurement& m) {
    report.runs.push_back(summarise(cell, std::vector<NetMeasurement>{m}));
  };
  add(stream(Vmm::kBellhop, NetNotify::kSync), measured_net(1000, 1));
  add(stream(Vmm::kBellhop, NetNotify::kIoEventFd), measured_net(2000, 1));
  add(stream(Vmm::kQemu, NetNotify::kSync), measured_net(800, 2));
  add(stream(Vmm::kQemu, NetNotify::kIoEventFd), measured_net(1000, 2));
  NetCell ping = stream(Vmm::kBellhop, NetNotify::kSync);
  ping.workload = NetWorkload::kPing;
  ping.framing = Framing::kMtu;
  ping.message_bytes = 1;
  NetMeasurement pings = measured_net(0, 0.5);
  pings.operations = 10'000;
  pings.latency = {90, 100, 110, 120};
  add(ping, pings);
  NetCell packets = ping;
  packets.workload = NetWorkload::kPackets;
  packets.message_bytes = kSmallestMessage;
  NetMeasurement small = measured_net(0, 0.5);
  small.datagrams = 250'000;
  small.counters.system_calls = 300'000;
  small.io_cpu_s = 0.4;
  small.io_system_s = 0.3;
  add(packets, small);
  report.not_run.push_back({describe(stream(Vmm::kBellhop, NetNotify::kVhost)), "no <device>"});
  return report;
}

TEST(NetResults, FollowTheSchema) {
  const auto json = to_json(net_report());
  const auto& run = json.at("runs").at(1);
  EXPECT_EQ(run.at("device"), "net");
  EXPECT_EQ(run.at("workload"), "stream");
  EXPECT_EQ(run.at("direction"), "guest-to-host");
  EXPECT_EQ(run.at("message_bytes"), 4096);
  EXPECT_EQ(run.at("notify"), "ioeventfd");
  EXPECT_DOUBLE_EQ(run.at("mb_per_s").get<double>(), 250);
  EXPECT_EQ(run.at("net").at("lost"), 5);
  EXPECT_TRUE(run.at("net").at("host_end_cpus").is_null());
  NetReport pinned = net_report();
  pinned.setting.end_cpus = {0, 1};
  EXPECT_EQ(to_json(pinned).at("runs").at(1).at("net").at("host_end_cpus"), "0-1");
  EXPECT_THAT(to_text(make_tables(pinned)[0]), HasSubstr("other end on CPU 0-1"));
  EXPECT_EQ(run.at("verified"), true);
  EXPECT_TRUE(json.at("runs").at(4).at("direction").is_null());
  EXPECT_THAT(to_csv(net_report()), HasSubstr("net.framing"));
}

TEST(NetTables, SetTodaysFiguresBesideThePatchOf2010) {
  const auto tables = make_tables(net_report());
  ASSERT_EQ(tables.size(), 5U);
  EXPECT_THAT(to_text(tables[0]),
              AllOf(HasSubstr("UDP stream"), HasSubstr("2000"), HasSubstr("+100 %"),
                    HasSubstr("1578"), HasSubstr("3659"), HasSubstr("4723"), HasSubstr("0.5 %")));
  // Bellhop to QEMU: 1000/800 and 2000/1000; for each CPU second twice as much.
  EXPECT_THAT(to_text(tables[1]), AllOf(HasSubstr("QEMU 7.2"), HasSubstr("1.25"), HasSubstr("2.00"),
                                        HasSubstr("2.50"), HasSubstr("4.00")));
  EXPECT_THAT(to_text(tables[2]), AllOf(HasSubstr("10000"), HasSubstr("50.0")));
  EXPECT_THAT(to_text(tables[3]), AllOf(HasSubstr("250.0"), HasSubstr("1.20"), HasSubstr("75 %")));
}

TEST(NetTables, TellTwoQemusApart) {
  NetReport report = net_report();
  report.setting.programs.qemus.push_back({"/opt/qemu", "10.0.2"});
  const auto add = [&report](std::size_t like, double datagrams) {
    NetRun run = report.runs[like];
    run.cell.vmm = {Vmm::Kind::kQemu, 1};
    run.all[0].datagrams = static_cast<std::uint64_t>(datagrams);
    run.all[0].bytes *= 4;
    report.runs.push_back(summarise(run.cell, run.all));
  };
  report.runs[5].all[0].bytes = 22'000;  // the small frames
  add(1, 0);
  add(4, 0);
  add(5, 125'000);
  const auto tables = make_tables(report);
  ASSERT_EQ(tables.size(), 6U);
  EXPECT_THAT(to_text(tables[1]), AllOf(HasSubstr("QEMU 7.2 (/usr/bin/qemu)"), HasSubstr("2.00")));
  EXPECT_THAT(to_text(tables[2]), AllOf(HasSubstr("QEMU 10.0.2 (/opt/qemu)"), HasSubstr("0.25")));
  EXPECT_THAT(to_text(tables[3]), HasSubstr("s; QEMU 10.0.2 (/opt/qemu)"));
  ASSERT_EQ(tables[4].rows.size(), 2U);
  EXPECT_EQ(tables[4].rows[0].at(1), "Bellhop");
  EXPECT_EQ(tables[4].rows[1].at(1), "QEMU 10.0.2");
  EXPECT_EQ(tables[4].rows[0].at(10), "–");
  EXPECT_EQ(tables[4].rows[1].at(10), "0.25 (–)");
}

TEST(NetPage, OpensWithWhatWasFound) {
  NetReport report = net_report();
  report.runs.resize(4);
  EXPECT_THAT(
      make_page(report).findings,
      ::testing::ElementsAre(
          "Stream guest-to-host gso 4096 with Bellhop: by throughput ioeventfd is best, 2.00 "
          "times the next. By bytes for a host CPU second ioeventfd is best, 2.00 times the "
          "next.",
          "Bellhop beside QEMU 7.2, notified in the same way: by throughput ahead in all 2 "
          "cells, 1.25 to 2.00 times as much.",
          "Bellhop beside QEMU 7.2, by bytes for a host CPU second: ahead in all 2 cells, "
          "2.50 to 4.00 times as much."));
}

TEST(NetResults, ARepeatIsReadBackAsItWasWritten) {
  NetMeasurement m = measured_net(1000, 1);
  m.offload = true;
  m.end_cpu_s = 0.5;
  m.retransmits = 3;
  const auto json = to_json(m);
  NetMeasurement back;
  ASSERT_TRUE(from_json(json, back).has_value());
  EXPECT_EQ(to_json(back), json);
  for (const auto& [name, value] : json["net"].items()) {
    auto without = json;
    without["net"].erase(name);
    EXPECT_FALSE(from_json(without, back).has_value()) << name;
  }
  auto without = json;
  without["net"] = 7;
  EXPECT_FALSE(from_json(without, back).has_value());
  without.erase("net");
  EXPECT_FALSE(from_json(without, back).has_value());
}

TEST(NetPage, SaysThatItIsNoTcpAndKeepsMarkupOut) {
  const NetReport report = net_report();
  const std::string html = to_html(make_page(report), report);
  EXPECT_THAT(html, AllOf(HasSubstr("no TCP"), HasSubstr("no &lt;device&gt;")));
  EXPECT_THAT(html, Not(HasSubstr("no <device>")));
}

TEST(NetSets, KeepWhatIsComparedTogether) {
  NetSweep sweep;
  sweep.placements = {Placement::kFree};
  sweep.vmms = {Vmm::kBellhop, Vmm::kQemu};
  const auto sets = compared_sets(sweep);
  ASSERT_EQ(sets.size(), 2U * 4 + 1 + 2);
  for (const auto& set : sets) {
    EXPECT_EQ(set.size(), 6U);
    for (const NetCell& cell : set) {
      EXPECT_EQ(cell.workload, set[0].workload);
      EXPECT_EQ(cell.direction, set[0].direction);
      EXPECT_EQ(cell.message_bytes, set[0].message_bytes);
    }
  }
}

TEST(NetCommands, BothVmmsGetTheSameGuestAndTap) {
  NetSetting setting;
  setting.programs.qemus = {{"/usr/bin/qemu", "7.2"}, {"/opt/qemu", "10.0.2"}};
  Launch launch;
  launch.guest = "g.elf";
  NetCell cell = stream(Vmm::kBellhop, NetNotify::kIoEventFd, Direction::kHostToGuest);
  const auto plan = plan_cpus(cell.placement, 1, {0, 1});
  ASSERT_TRUE(plan.has_value());
  const std::string words =
      "workload=netrecv message=4096 datagram=1472 uso=on direction=to-guest seconds=3.000 "
      "warmup=0.500 size=256 seed=2010";
  const auto own = bellhop_command(cell, *plan, setting, launch);
  EXPECT_THAT(own, Contains(words));
  EXPECT_THAT(own, Contains(HasSubstr("fd=104,")));
  EXPECT_THAT(own, Contains(HasSubstr("notify=ioeventfd,vhost=off")));
  const auto peer = qemu_command(cell, setting, launch);
  EXPECT_THAT(peer, Contains(words));
  EXPECT_THAT(peer, Contains(HasSubstr("fd=104,vhost=off")));
  EXPECT_THAT(peer, Contains(HasSubstr("ioeventfd=on")));
  cell.notify = NetNotify::kVhost;
  EXPECT_THAT(qemu_command(cell, setting, launch), Contains(HasSubstr("vhost=on")));
  EXPECT_EQ(qemu_command(cell, setting, launch).front(), "/usr/bin/qemu");
  cell.vmm = {Vmm::Kind::kQemu, 1};
  EXPECT_EQ(qemu_command(cell, setting, launch).front(), "/opt/qemu");
  cell.vmm = Vmm::kBellhop;
  EXPECT_THAT(bellhop_command(cell, *plan, setting, launch), Contains(HasSubstr("vhost=force")));
}

TEST(NetCells, SayWhyTheyCannotBeRun) {
  NetSetting setting;
  const NetCell qemu = stream(Vmm::kQemu, NetNotify::kSync);
  EXPECT_THAT(why_not(qemu, setting, true), HasSubstr("not installed"));
  setting.programs.qemus = {{"/usr/bin/qemu", "7.2"}};
  EXPECT_EQ(why_not(qemu, setting, true), "");
  EXPECT_THAT(why_not(qemu, setting, false), HasSubstr("no UDP segmentation offload"));
  NetCell small = qemu;
  small.message_bytes = 1024;
  EXPECT_EQ(why_not(small, setting, false), "");
}

TEST(NetResult, TakesWhatOnlyANetworkHas) {
  NetMeasurement m;
  read_net_result({{"direction", "host-to-guest"},
                   {"datagrams", 7U},
                   {"datagrams_sent", 9U},
                   {"lost", 2U},
                   {"frames_in", 3U},
                   {"frames_out", 4U},
                   {"uso", false},
                   {"guest_uso", true}},
                  m);
  EXPECT_EQ(m.datagrams, 7U);
  EXPECT_EQ(m.lost, 2U);
  EXPECT_EQ(m.frames, 7U);
  EXPECT_TRUE(m.offload);
  EXPECT_NEAR(m.lost_share(), 2.0 / 9, 1e-9);
}

TEST(IperfResult, IsWhatTheReceiverCounted) {
  const nlohmann::json report = {
      {"start", {{"test_start", {{"blksize", 4096U}}}}},
      {"end",
       {{"sum_sent", {{"bytes", 900'000U}, {"seconds", 1.9}, {"retransmits", 3U}}},
        {"sum_received", {{"bytes", 819'200U}, {"seconds", 2.0}}}}}};
  const auto m = read_iperf_result({{"iperf", report}});
  ASSERT_TRUE(m);
  EXPECT_EQ(m->bytes, 819'200U);
  EXPECT_EQ(m->operations, 200U);
  EXPECT_DOUBLE_EQ(m->seconds, 2);
  EXPECT_EQ(iperf_retransmits({{"iperf", report}}), 3U);
}

TEST(IperfResult, IsNoFigureWithoutData) {
  using nlohmann::json;
  const auto fault = [](const json& result) {
    const auto read = read_iperf_result(result);
    return read ? std::string("a figure") : read.error().message;
  };
  EXPECT_THAT(fault(json::object()), HasSubstr("no report"));
  EXPECT_EQ(iperf_retransmits(json::object()), 0U);
  EXPECT_EQ(iperf_retransmits({{"iperf", {{"end", {{"sum_sent", 7}}}}}}), 0U);
  EXPECT_EQ(iperf_retransmits({{"iperf", {{"end", {{"sum_sent", {{"retransmits", "x"}}}}}}}}), 0U);
  EXPECT_THAT(fault({{"iperf", {{"error", "unable to connect"}}}}), HasSubstr("unable to connect"));
  EXPECT_THAT(fault({{"iperf", {{"end", 1}}}}), HasSubstr("does not say"));
  EXPECT_THAT(fault({{"iperf",
                      {{"start", {{"test_start", {{"blksize", 0U}}}}},
                       {"end", {{"sum_received", {{"bytes", 1U}, {"seconds", 1}}}}}}}}),
              HasSubstr("nothing"));
}

TEST(NetTables, CallTheLinuxGuestsStreamTcp) {
  NetReport report = net_report();
  for (NetRun& run : report.runs) run.cell.framing = Framing::kTcp;
  EXPECT_THAT(make_tables(report).front().caption,
              AllOf(HasSubstr("TCP_STREAM"), Not(HasSubstr("UDP"))));
  const auto run = to_json(report)["runs"][0];
  EXPECT_EQ(run["guest"], "linux");
  EXPECT_EQ(run["verified"], false);
}

TEST(Patch2010Nets, AreThoseOfThePatch) {
  const Patch2010Net* figure = find_patch_2010(Direction::kHostToGuest, 4096);
  ASSERT_NE(figure, nullptr);
  EXPECT_DOUBLE_EQ(figure->patched, 4277);
  EXPECT_EQ(find_patch_2010(Direction::kHostToGuest, 512), nullptr);
}

}  // namespace
}  // namespace bellhop::bench
