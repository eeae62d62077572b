#include "bench/blk/served_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/blk/blk_tables.h"
#include "bench/blk/served_runner.h"

namespace bellhop::bench {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

Measurement measured(std::uint64_t operations, double cpu_s) {
  Measurement m;
  m.seconds = 2;
  m.operations = operations;
  m.bytes = operations * 4096;
  m.host_cpu_s = cpu_s;
  m.latency.p50 = 12.5;
  return m;
}

BlkReport report_of(std::uint64_t own, double own_cpu_s, std::uint64_t peer, double peer_cpu_s) {
  BlkReport report;
  report.setting.served = true;
  report.setting.medium = "tmpfs";
  report.setting.programs.qemus = {
      {.path = "/q", .version = "10.0", .best = false, .daemon = true}};
  const BlkCell cell{Workload::kRandRead,   32, 0, Placement::kFree, Vmm::kBellhop,
                     NotifyMode::kIoEventFd};
  BlkCell peers = cell;
  peers.vmm = Vmm::kQemu;
  report.runs.push_back(summarise(cell, std::vector(3, measured(own, own_cpu_s))));
  report.runs.push_back(summarise(peers, std::vector(3, measured(peer, peer_cpu_s))));
  return report;
}

TEST(ServedTables, TellRequestsAndTheCpuTimeOfEach) {
  const auto tables = make_tables(report_of(200'000, 0.4, 100'000, 0.5));
  ASSERT_EQ(tables.size(), 2U);  // and where Bellhop loses
  const std::string text = to_text(tables[0]);
  EXPECT_THAT(text, HasSubstr("qemu-storage-daemon 10.0"));
  const auto& row = tables[0].rows.at(0);
  EXPECT_EQ(row[1], "32");
  EXPECT_EQ(row[2], "100.0");  // thousand a second
  EXPECT_EQ(row[4], "2.00");   // us of CPU for each
  EXPECT_EQ(row[5], "12.5");
  EXPECT_EQ(row[6], "50.0");
  EXPECT_EQ(row[8], "5.00");
  EXPECT_THAT(row[10].text, HasSubstr("2.00"));
  EXPECT_THAT(row[11].text, HasSubstr("2.50"));
  EXPECT_TRUE(tables[1].rows.empty());
}

TEST(ServedTables, HavePackedRingsBesideSplitOnes) {
  BlkReport report = report_of(200'000, 0.4, 100'000, 0.5);
  BlkCell packed = report.runs[0].cell;
  packed.ring = RingLayout::kPacked;
  report.runs.push_back(summarise(packed, std::vector(3, measured(300'000, 0.4))));
  const auto tables = make_tables(report);
  const std::string text = to_text(tables.at(0));
  EXPECT_THAT(text, HasSubstr("ioeventfd, packed"));
  EXPECT_THAT(text, HasSubstr("ioeventfd, packed / split"));
  const auto& row = tables[0].rows.at(0);
  ASSERT_EQ(row.size(), 18U);
  EXPECT_EQ(row[2], "100.0");
  EXPECT_EQ(row[6], "150.0");
  EXPECT_EQ(row[8], "1.33");
  EXPECT_EQ(row[10], "50.0");
  EXPECT_THAT(row[14].text, HasSubstr("2.00")) << "of split rings to the peer's";
  EXPECT_THAT(row[16].text, HasSubstr("1.50"));
  EXPECT_THAT(row[17].text, HasSubstr("1.50"));
}

TEST(ServedTables, TellWhereBellhopLoses) {
  const auto tables = make_tables(report_of(100'000, 0.4, 200'000, 0.4));
  ASSERT_EQ(tables.size(), 2U);
  EXPECT_EQ(tables[1].rows.size(), 1U);
}

TEST(BackEndCommand, ServesTheSameMediumInTheSameWay) {
  BlkSetting setting;
  setting.aio = Aio::kIoUring;
  setting.cache = Cache::kWriteback;
  setting.programs.qemus = {{.path = "/q", .version = "10.0", .best = false, .daemon = true}};
  BlkCell cell;
  cell.notify = NotifyMode::kPoll;
  EXPECT_THAT(back_end_command(cell, setting, {}, "/s"),
              Contains(AllOf(HasSubstr("cache=writeback,aio=io_uring"), HasSubstr("notify=poll"))));
  cell.ring = RingLayout::kPackedInOrder;
  EXPECT_THAT(back_end_command(cell, setting, {}, "/s"),
              Contains(HasSubstr(",packed=on,in-order=on")));
  cell.ring = RingLayout::kPacked;
  EXPECT_THAT(back_end_command(cell, setting, {}, "/s"), Not(Contains(HasSubstr("in-order"))));
  cell.vmm = Vmm::kQemu;
  const auto theirs = back_end_command(cell, setting, {}, "/s");
  EXPECT_EQ(theirs[0], "/q");
  EXPECT_THAT(theirs, Contains(HasSubstr("aio=io_uring,cache.direct=off")));
  EXPECT_THAT(theirs, Contains(HasSubstr("addr.path=/s")));
  setting.null = NullMedium{};
  EXPECT_THAT(back_end_command(cell, setting, {}, "/s"), Contains(HasSubstr("driver=null-co")));
}

}  // namespace
}  // namespace bellhop::bench
