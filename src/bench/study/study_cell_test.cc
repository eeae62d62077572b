#include "bench/study/study_cell.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/harness/vmm_command.h"
#include "bench/study/study_fixture.h"
#include "bench/study/study_sweep.h"

namespace bellhop::bench {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

TEST(StudyGrid, HasEveryWayInEachSpot) {
  StudySweep sweep;
  sweep.media = {{"tmpfs", "/dev/shm", std::nullopt}, {"null 0 us", "", NullMedium{}}};
  const auto sets = compared_sets(sweep);
  EXPECT_THAT(sets, SizeIs(2U * 4 * 3 * 3)) << "media, placements, vCPUs, threads";
  for (const auto& set : sets) {
    std::vector<Way> ways;
    for (const StudyCell& cell : set) {
      EXPECT_EQ(cell.spot, set.front().spot);
      ways.push_back(cell.way);
    }
    EXPECT_THAT(ways, ElementsAre(kSync, kEvent, kPoll, kFast, kThrifty));
  }
  EXPECT_EQ(describe(sets.front().front()), "randread x1 same-core, 1 vCPU, tmpfs, sync");
  EXPECT_EQ(describe(sets.back().back()),
            "randread x16 busy, 4 vCPUs, null 0 us, adaptive for efficiency");
  sweep.notify = {NotifyMode::kAdaptive, NotifyMode::kSync};
  sweep.optimize = {Optimize::kEfficiency};
  EXPECT_THAT(compared_sets(sweep).front(), SizeIs(2));
}

TEST(StudyGrid, ComparesWithSyncAndAdaptiveWithAll) {
  const Spot spot = spot_at(Placement::kFree, 8);
  EXPECT_TRUE(is_compared({spot, kEvent}, {spot, kSync}));
  EXPECT_FALSE(is_compared({spot, kPoll}, {spot, kEvent}));
  EXPECT_TRUE(is_compared({spot, kFast}, {spot, kPoll}));
  EXPECT_FALSE(is_compared({spot, kThrifty}, {spot, kFast}));
  EXPECT_FALSE(is_compared({spot, kSync}, {spot, kSync}));
  EXPECT_FALSE(is_compared({spot, kEvent}, {spot_at(Placement::kFree, 1), kSync}));
}

TEST(StudyGrid, SaysWhatAHostCannot) {
  const CpuList two = {0, 1};
  const auto many = plan_cpus(spot_at(Placement::kFree, 8, "tmpfs", 4), two);
  ASSERT_FALSE(many.has_value());
  EXPECT_EQ(many.error().message, "4 vCPUs need 4 CPUs; there are 2");
  EXPECT_THAT(plan_cpus(spot_at(Placement::kOtherCore, 8, "tmpfs", 2), two).error().message,
              HasSubstr("needs 3 CPUs"));
  EXPECT_THAT(plan_cpus(spot_at(Placement::kFree, 1, "tmpfs", 2), two).error().message,
              HasSubstr("fewer threads than vCPUs"));
  const auto busy = plan_cpus(spot_at(Placement::kBusy, 8, "tmpfs", 2), two);
  ASSERT_TRUE(busy.has_value());
  EXPECT_EQ(busy->busy_processes, 2U);
  EXPECT_TRUE(busy->vcpus.empty());
  EXPECT_EQ(plan_cpus(spot_at(Placement::kFree, 8), two)->busy_processes, 0U);
}

TEST(StudyGrid, NamesLatencies) {
  using namespace std::chrono_literals;
  EXPECT_EQ(describe_latency(0us), "0 us");
  EXPECT_EQ(describe_latency(50us), "50 us");
  EXPECT_EQ(describe_latency(1500ns), "1.5 us");
  EXPECT_EQ(describe_latency(1ms), "1 ms");
}

TEST(StudyCommands, GiveEachCellItsMediumAndObjective) {
  StudyRows rows;
  const StudySetting& setting = rows.report().setting;
  const auto command = [&setting](const StudyCell& cell) {
    return bellhop_command(blk_cell(cell), CpuPlan{}, blk_setting(setting, cell), Launch{});
  };
  const auto null = command({spot_at(Placement::kFree, 8, "null 50 us"), kThrifty});
  EXPECT_THAT(null, Contains("null=1073741824,latency=50000ns,queues=1,queue-size=256,"
                             "notify=adaptive,iothread=io0,optimize=efficiency"));
  EXPECT_THAT(null, Contains(HasSubstr(" check=off")));
  const auto file = command({spot_at(Placement::kFree, 8), kFast});
  EXPECT_THAT(file, Contains(HasSubstr("path=/proc/self/fd/100,cache=none,aio=native")));
  EXPECT_THAT(file, Contains(HasSubstr("optimize=throughput")));
  EXPECT_THAT(file, Not(Contains(HasSubstr("check=off"))));
}

TEST(StudySweep, RunsWhatAnEarlierOneHasNotAndTellsWhatCannotBeRun) {
  StudySweep sweep;
  sweep.threads = {8};
  sweep.vcpus = {1, 4096};
  sweep.placements = {Placement::kBusy};
  sweep.media = {{"null 0 us", "", NullMedium{}}};
  StudyReport report;
  report.setting.media = sweep.media;
  report.setting.rounds = {2, 2};
  Measurement done;
  done.seconds = done.host_cpu_s = 1;
  done.bytes = done.operations = 4096;
  const StudyCell first{spot_at(Placement::kBusy, 8, "null 0 us"), kSync};
  Earlier<Measurement> earlier;
  earlier[describe(first)] = {{done, done}, {}};
  std::size_t runs = 0;
  const auto measure = [&](const StudyCell& cell, const CpuPlan& plan,
                           int image) -> Result<Measurement> {
    EXPECT_NE(cell.way, kSync) << "measured already";
    EXPECT_EQ(image, -1);
    EXPECT_EQ(plan.busy_processes, kBusyProcesses);
    Measurement m = done;
    m.vcpu_run_delay_s = 0.5;  // our own load's doing
    ++runs;
    return m;
  };
  ASSERT_TRUE(run_study(sweep, {}, measure, earlier, {}, report).has_value());
  EXPECT_EQ(runs, 4U * 2);
  EXPECT_THAT(report.runs, SizeIs(5));
  EXPECT_THAT(report.not_run, SizeIs(5));
  EXPECT_THAT(group_not_run(report.not_run), SizeIs(1)) << "one reason is told once";
}

}  // namespace
}  // namespace bellhop::bench
