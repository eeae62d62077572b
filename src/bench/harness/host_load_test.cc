#include "bench/harness/host_load.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bellhop::bench {
namespace {

using ::testing::HasSubstr;

TEST(CpuTimes, AreThoseOfAllCpus) {
  // user nice system idle iowait irq softirq steal guest guest_nice
  const CpuTimes times =
      find_cpu_times("cpu  100 200 300 4000 500 60 70 80 90 10\ncpu0 1 2 3 4 5 6 7 8 9 1\n", 100);
  EXPECT_DOUBLE_EQ(times.busy_s, 7.3);
  EXPECT_DOUBLE_EQ(times.idle_s, 45);
  EXPECT_DOUBLE_EQ(times.steal_s, 0.8);
  EXPECT_DOUBLE_EQ(find_cpu_times("", 100).busy_s, 0);
  EXPECT_DOUBLE_EQ(find_cpu_times("cpu 1 2 3", 100).busy_s, 0);
  EXPECT_DOUBLE_EQ(find_cpu_times("intr 1 2 3 4 5 6 7 8", 100).busy_s, 0);
}

TEST(HostLoad, LeavesOutWhatTheProgramUsedItself) {
  const CpuTimes begin{10, 20, 1};
  const CpuTimes end{16, 22, 2};
  const HostLoad load = load_between(begin, end, 4, 2);
  EXPECT_DOUBLE_EQ(load.other_cpus, 1);
  EXPECT_DOUBLE_EQ(load.steal_cpus, 0.25);
  EXPECT_TRUE(load.is_busy());
  EXPECT_DOUBLE_EQ(load_between(begin, end, 4, 7).other_cpus, 0) << "clocks of two kinds";
  EXPECT_FALSE(load_between(begin, end, 0, 0).is_busy());
}

TEST(HostLoad, IsWarnedOfWhereItIsBusy) {
  EXPECT_EQ(warn_of({0.04, 0.02, {0.5, 0.5, 0.5}}, 2), "");
  EXPECT_EQ(
      warn_of({1.42, 0, {3.2, 1, 1}}, 2),
      "this host is busy: other programs use 1.4 of 2 CPUs (load average 3.2); figures will be "
      "disturbed");
  EXPECT_THAT(warn_of({0, 0.5, {}}, 2), HasSubstr("its own host keeps 0.5 from it"));
}

TEST(HostLoad, IsWatchedAndWritten) {
  const auto watch = LoadWatch::start(0.01);
  ASSERT_TRUE(watch.has_value()) << watch.error().message;
  const auto load = watch->finish();
  ASSERT_TRUE(load.has_value());
  EXPECT_GE(load->during.other_cpus, 0);
  const auto json = to_json(LoadReport{{0.5, 0.25, {3, 2, 1}}, {}});
  EXPECT_EQ(json["before"]["other_cpus"], 0.5);
  EXPECT_EQ(json["before"]["load_average"][0], 3);
  EXPECT_EQ(json["before"]["busy"], true);
  EXPECT_EQ(json["during"]["busy"], false);
}

}  // namespace
}  // namespace bellhop::bench
