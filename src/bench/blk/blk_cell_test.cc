#include "bench/blk/blk_cell.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/harness/vmm_command.h"
#include "bench/report/patch_2010.h"

namespace bellhop::bench {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

BlkCell cell(unsigned vcpus, Placement placement, Vmm vmm = Vmm::kBellhop,
             NotifyMode notify = NotifyMode::kIoEventFd) {
  return {Workload::kRandRead, 16, vcpus, placement, vmm, notify};
}

TEST(ComparedSets, KeepWhatIsComparedTogether) {
  BlkSweep sweep;
  sweep.placements = {Placement::kFree};
  sweep.vmms = {Vmm::kBellhop, Vmm::kQemu};
  const auto sets = compared_sets(sweep);
  ASSERT_EQ(sets.size(), 12U);
  for (const auto& set : sets) {
    ASSERT_EQ(set.size(), 4U);
    for (const BlkCell& one : set) {
      EXPECT_EQ(one.workload, set[0].workload);
      EXPECT_EQ(one.threads, set[0].threads);
    }
  }
}

TEST(PlanCpus, FollowsThePlacement) {
  const CpuList cpus = {2, 3, 5};
  const auto same = plan_cpus(Placement::kSameCore, 2, cpus);
  ASSERT_TRUE(same.has_value());
  EXPECT_THAT(same->vcpus, ElementsAre(CpuList{2}, CpuList{2}));
  EXPECT_EQ(same->io, CpuList{2});
  const auto other = plan_cpus(Placement::kOtherCore, 2, cpus);
  ASSERT_TRUE(other.has_value());
  EXPECT_THAT(other->vcpus, ElementsAre(CpuList{2}, CpuList{3}));
  EXPECT_EQ(other->io, CpuList{5});
  const auto free = plan_cpus(Placement::kFree, 1, cpus);
  ASSERT_TRUE(free.has_value());
  EXPECT_TRUE(free->vcpus.empty() && free->io.empty());
}

TEST(PlanCpus, SaysWhyAHostCannot) {
  const auto other = plan_cpus(Placement::kOtherCore, 2, {0, 1});
  ASSERT_FALSE(other.has_value());
  EXPECT_THAT(other.error().message, HasSubstr("needs 3 CPUs"));
  EXPECT_FALSE(plan_cpus(Placement::kOvercommit, 2, {0, 1}).has_value());
  EXPECT_TRUE(plan_cpus(Placement::kOvercommit, 3, {0, 1}).has_value());
}

TEST(Commands, BothVmmsGetTheSameGuestAndDisk) {
  BlkSetting setting;
  setting.seconds = 5;
  setting.programs.qemus = {{"/usr/bin/qemu", "7.2"}, {"/opt/qemu", "10.0.2"}};
  Launch launch;
  launch.guest = "g.elf";
  const auto plan = plan_cpus(Placement::kOtherCore, 1, {0, 1});
  ASSERT_TRUE(plan.has_value());
  const auto own = bellhop_command(cell(1, Placement::kOtherCore), *plan, setting, launch);
  const std::string words =
      "workload=randread threads=16 bs=4096 seconds=5.000 warmup=0.500 vcpus=1 queues=1 size=256 "
      "seed=2010";
  EXPECT_THAT(own, Contains(words));
  EXPECT_THAT(own, Contains("0=0"));
  EXPECT_THAT(own, Contains("io0,cpus=1"));
  EXPECT_THAT(own, Contains(HasSubstr("cache=none,aio=native,queues=1,queue-size=256,"
                                      "notify=ioeventfd")));
  const auto peer = qemu_command(cell(1, Placement::kOtherCore, Vmm::kQemu), setting, launch);
  EXPECT_THAT(peer, Contains(words));
  EXPECT_EQ(peer.front(), "/usr/bin/qemu");
  const auto second =
      qemu_command(cell(1, Placement::kOtherCore, {Vmm::Kind::kQemu, 1}), setting, launch);
  EXPECT_EQ(second.front(), "/opt/qemu");
  EXPECT_THAT(peer, Contains("iothread,id=io0"));
  EXPECT_THAT(peer, Contains(HasSubstr("cache=none,aio=native")));
  EXPECT_THAT(peer, Contains(HasSubstr("queue-size=256,ioeventfd=on,iothread=io0")));
  const auto sync =
      qemu_command(cell(1, Placement::kFree, Vmm::kQemu, NotifyMode::kSync), setting, launch);
  EXPECT_THAT(sync, Contains(HasSubstr("ioeventfd=off")));
  EXPECT_THAT(sync, ::testing::Not(Contains("iothread,id=io0")));
}

TEST(Patch2010Blks, AreThoseOfThePatch) {
  const Patch2010Blk* figure = find_patch_2010(Workload::kCreate, 16);
  ASSERT_NE(figure, nullptr);
  EXPECT_DOUBLE_EQ(figure->unmodified, 119.0);
  EXPECT_DOUBLE_EQ(figure->patched, 157.0);
  EXPECT_EQ(find_patch_2010(Workload::kCreate, 2), nullptr);
}

}  // namespace
}  // namespace bellhop::bench
