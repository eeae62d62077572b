#include "control/machine_control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <future>
#include <vector>

#include "testing/control_fixture.h"

namespace bellhop::control {
namespace {

using bellhop::testing::ControlledMachine;
using bellhop::testing::eventually;
using bellhop::testing::expect_error;
using ::testing::HasSubstr;

TEST(MachineControlTest, PausesAndResumes) {
  ControlledMachine one;
  one.run();
  ASSERT_TRUE(eventually([&] { return one.state() == MachineState::kRunning; }));
  EXPECT_TRUE(one.ask(Pause{}));
  EXPECT_EQ(one.state(), MachineState::kPaused);
  expect_error(one.ask(Pause{}), EBUSY, "the machine is paused");
  EXPECT_TRUE(one.ask(Resume{}));
  EXPECT_EQ(one.state(), MachineState::kRunning);
  expect_error(one.ask(Resume{}), EBUSY, "running already");
  expect_error(one.ask(Boot{}), EBUSY, "running already");
}

TEST(MachineControlTest, CommandsBeforeTheStartWaitForIt) {
  ControlledMachine one;
  std::promise<bool> paused;
  one.control->submit(Pause{},
                      [&](const Result<Answer>& done) { paused.set_value(done.has_value()); });
  EXPECT_EQ(one.state(), MachineState::kCreated) << "and those that ask have their answer";
  EXPECT_TRUE(one.ask(GetCounters{}));
  one.run();
  EXPECT_TRUE(paused.get_future().get());
  EXPECT_EQ(one.state(), MachineState::kPaused);
}

// The vCPU is busy, as it is when a disk keeps a pause waiting.
TEST(MachineControlTest, WhileOneCommandWaitsOthersAreAnsweredOrWaitTheirTurn) {
  ControlledMachine one;
  std::promise<void> go_on;
  std::atomic<bool> busy{false};
  one.on_marker = [&, wait = go_on.get_future().share()] {
    busy = true;
    wait.wait();
  };
  one.run();
  one.vcpu().push_exit(ControlledMachine::marker());
  ASSERT_TRUE(eventually([&] { return busy.load(); }));
  std::vector<int> order;
  std::promise<void> all;
  one.control->submit(Pause{}, [&](const Result<Answer>& done) { order.push_back(done ? 1 : -1); });
  one.control->submit(Resume{}, [&](const Result<Answer>& done) {
    order.push_back(done ? 2 : -2);
    all.set_value();
  });
  EXPECT_TRUE(one.ask(Ping{}));
  EXPECT_EQ(one.state(), MachineState::kRunning);
  EXPECT_TRUE(one.ask(GetCounters{}));
  expect_error(one.ask(PressPowerButton{}), EBUSY, "no driver of its power button");
  go_on.set_value();
  all.get_future().wait();
  EXPECT_THAT(order, ::testing::ElementsAre(1, 2));
}

TEST(MachineControlTest, SwitchedOffItHasNoMemoryAndMayBeBootedAgain) {
  ControlledMachine one;
  one.run();
  ASSERT_TRUE(eventually([&] { return one.state() == MachineState::kRunning; }));
  const GuestAddress somewhere(std::uint64_t{8} << 20);
  const auto& memory = *one.hypervisor.vm()->memory();
  ASSERT_TRUE(memory.write(somewhere, std::array{std::byte{1}}));
  EXPECT_TRUE(one.ask(PowerOff{}));
  EXPECT_EQ(one.state(), MachineState::kOff);
  std::array<std::byte, 1> left{std::byte{2}};
  ASSERT_TRUE(memory.read(somewhere, left));
  EXPECT_EQ(left[0], std::byte{0});
  expect_error(one.ask(PowerOff{}), EBUSY, "switched off");
  expect_error(one.ask(Pause{}), EBUSY, "switched off");
  expect_error(one.ask(Resume{}), EBUSY, "switched off");
  expect_error(one.ask(Reboot{}), EBUSY, "switched off: boot starts it");
  expect_error(one.ask(PressPowerButton{}), EBUSY, "switched off: boot starts it");
  EXPECT_TRUE(one.ask(GetCounters{}));
  EXPECT_TRUE(one.ask(Boot{}));
  EXPECT_EQ(one.state(), MachineState::kRunning);
  EXPECT_EQ(one.vcpu().resets(), 1U);
}

TEST(MachineControlTest, RebootsFromEitherState) {
  ControlledMachine one;
  one.run();
  EXPECT_TRUE(one.ask(Reboot{}));
  EXPECT_EQ(one.vcpu().resets(), 1U);
  EXPECT_TRUE(one.ask(Pause{}));
  EXPECT_TRUE(one.ask(Reboot{}));
  EXPECT_EQ(one.vcpu().resets(), 2U);
  EXPECT_EQ(one.state(), MachineState::kRunning);
}

TEST(MachineControlTest, QueuesAreNotifiedInAnotherWayWhetherTheyRunOrNot) {
  ControlledMachine one;
  one.run();
  const auto set = [&](const char* id, NotifyMode mode, std::optional<unsigned> queue = {}) {
    return one.ask(SetNotify{.id = id, .queue = queue, .wish = {.mode = mode}});
  };
  const auto wish = [&](std::string_view id) {
    const auto info = std::get<MachineInfo>(*one.ask(GetInfo{}));
    return std::ranges::find(info.queues, id, &QueueStats::device)->wish.mode;
  };
  EXPECT_EQ(wish("disk0"), NotifyMode::kIoEventFd);
  ASSERT_TRUE(set("disk0", NotifyMode::kSync));
  EXPECT_EQ(wish("disk0"), NotifyMode::kSync);
  EXPECT_EQ(wish("null0"), NotifyMode::kIoEventFd);
  ASSERT_TRUE(set("balloon0", NotifyMode::kPoll, 1));
  EXPECT_EQ(wish("balloon0"), NotifyMode::kIoEventFd) << "queue 0";
  // What the machine looks at is what a device looks at that was told of nothing else.
  const auto objective = [&] {
    const auto info = std::get<MachineInfo>(*one.ask(GetInfo{}));
    return std::ranges::find(info.queues, "balloon0", &QueueStats::device)->wish.optimize;
  };
  ASSERT_TRUE(
      one.ask(SetNotify{.id = "balloon0", .wish = {NotifyMode::kAdaptive, Optimize::kEfficiency}}));
  EXPECT_EQ(objective(), Optimize::kEfficiency);
  ASSERT_TRUE(one.ask(SetNotify{.id = "balloon0",
                                .wish = {NotifyMode::kAdaptive, Optimize::kEfficiency},
                                .optimize_given = false}));
  EXPECT_EQ(objective(), Optimize::kThroughput);
  // The tuner comes with the first that is adaptive, and has no more of it when it is not.
  ASSERT_TRUE(set("null0", NotifyMode::kAdaptive));
  ASSERT_TRUE(one.ask(Pause{}));
  ASSERT_TRUE(set("null0", NotifyMode::kAdaptive, 0));
  ASSERT_TRUE(set("disk0", NotifyMode::kAdaptive));
  ASSERT_TRUE(one.ask(PowerOff{}));
  ASSERT_TRUE(set("null0", NotifyMode::kSync));
  ASSERT_TRUE(one.ask(Boot{}));
  EXPECT_EQ(wish("null0"), NotifyMode::kSync) << "also after a start";
  EXPECT_EQ(wish("disk0"), NotifyMode::kAdaptive);
  expect_error(set("disk9", NotifyMode::kSync), ENOENT, "there is no device 'disk9'");
  expect_error(set("disk0", NotifyMode::kSync, 1), ENOENT, "disk0: there is no queue 1: it has 1");
}

TEST(MachineControlTest, AGroupOfRatesIsChangedByItsName) {
  ControlledMachine one([](MachineConfig& config) {
    config.rate_groups.push_back({.id = "slow", .rates = {.units = 100}, .place = {}});
    config.disks[1].rate_group = "slow";
  });
  one.run();
  const auto set = [&](const char* id, const char* rates) {
    return one.ask(SetRates{id, PropertyList::parse(rates, "").value_or(PropertyList())});
  };
  EXPECT_TRUE(set("slow", "iops=200"));
  EXPECT_EQ(std::get<MachineInfo>(*one.ask(GetInfo{})).config->rate_groups[0].rates.units, 200U);
  expect_error(set("null0", "iops=5"), EINVAL, "its rates are those of the group 'slow'");
  expect_error(set("slower", "iops=5"), ENOENT, "no disk, NIC or group of rates 'slower'");
  const auto added = one.ask(AddDevice{
      .kind = "disk", .properties = *PropertyList::parse("null=1M,rate-limit-group=slow")});
  ASSERT_TRUE(added) << added.error().message;
  expect_error(one.ask(AddDevice{.kind = "disk",
                                 .properties = *PropertyList::parse("null=1M,rate-limit-group=x")}),
               EINVAL, "rate-limit-group=x is not there");
  expect_error(
      one.ask(AddDevice{.kind = "disk", .properties = *PropertyList::parse("null=1M,id=slow")}),
      EINVAL, "id=slow is given to two");
  const auto counters = std::get<MachineCounters>(*one.ask(GetCounters{}));
  EXPECT_EQ(counters.devices.back().id, "slow");
  EXPECT_STREQ(counters.devices.back().stats.front().name, "throttled");
}

TEST(MachineControlTest, AStartThatFailsLeavesItSwitchedOff) {
  ControlledMachine one;
  one.run();
  ASSERT_EQ(::ftruncate(one.kernel.get(), 10), 0);
  const auto refused = one.ask(Reboot{});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("--kernel"));
  EXPECT_EQ(one.state(), MachineState::kOff);
  EXPECT_FALSE(one.ask(Boot{})) << "the kernel is as it was";
  const auto elf = ElfBuilder::tiny_kernel();
  ASSERT_EQ(::pwrite(one.kernel.get(), elf.data(), elf.size(), 0),
            static_cast<ssize_t>(elf.size()));
  EXPECT_TRUE(one.ask(Boot{}));
  EXPECT_EQ(one.state(), MachineState::kRunning);
}

TEST(MachineControlTest, AGuestThatResetsIsStartedAgainIfThatIsWanted) {
  ControlledMachine one([](MachineConfig& config) { config.on_reset = OnReset::kRestart; });
  one.run();
  one.vcpu().push_exit(ControlledMachine::triple_fault());
  ASSERT_TRUE(eventually([&] { return one.vcpu().resets() == 1; }));
  EXPECT_TRUE(one.ask(Pause{})) << "commands go on";
  EXPECT_TRUE(one.ask(Resume{}));
  one.stopping = true;
  one.vcpu().push_exit(ControlledMachine::triple_fault());
  one.finish();
  EXPECT_EQ((*one.end)->kind, MachineEnd::Kind::kTripleFault) << "it was asked to stop";
}

TEST(MachineControlTest, AtTheEndEveryCommandGetsAnError) {
  ControlledMachine one;
  one.run();
  one.vcpu().push_exit(ControlledMachine::out(kDebugExitPorts.address, 7));
  one.finish();
  ASSERT_TRUE(one.end && *one.end);
  EXPECT_EQ((*one.end)->code, 7U);
  for (const Command& command : std::vector<Command>{
           Boot{}, Pause{}, Resume{}, Reboot{}, PowerOff{}, EndProcess{}, PressPowerButton{},
           ResizeDisk{"disk0", 2 * ControlledMachine::kDiskBytes}, Resize{.balloon_bytes = 0}}) {
    expect_error(one.ask(command), ESHUTDOWN, "has come to its end");
  }
  EXPECT_TRUE(one.ask(Ping{}));
  EXPECT_TRUE(one.ask(GetCounters{}));
}

TEST(MachineControlTest, WhatIsLeftAtTheEndGetsAnError) {
  ControlledMachine one;
  std::atomic<int> refused{0};
  one.control->submit(EndProcess{}, [](const Result<Answer>& done) { EXPECT_TRUE(done); });
  for (int i = 0; i < 10; ++i) {
    one.control->submit(Pause{}, [&](const Result<Answer>& done) {
      if (!done && done.error().code == ESHUTDOWN) ++refused;
    });
  }
  one.run();
  one.finish();
  EXPECT_EQ((*one.end)->kind, MachineEnd::Kind::kStopped);
  EXPECT_EQ(refused, 10);
}

TEST(MachineControlTest, ADiskGrowsAndLosesNothing) {
  ControlledMachine one;
  one.run();
  constexpr std::uint64_t kBytes = ControlledMachine::kDiskBytes;
  EXPECT_TRUE(one.ask(ResizeDisk{"disk0", 2 * kBytes}));
  struct stat info {};
  ASSERT_EQ(::fstat(one.image.get(), &info), 0);
  EXPECT_EQ(info.st_size, static_cast<off_t>(2 * kBytes));
  EXPECT_TRUE(one.ask(ResizeDisk{"disk0", 2 * kBytes})) << "it has that size";
  expect_error(one.ask(ResizeDisk{"disk0", kBytes}), EINVAL, "would be lost");
  expect_error(one.ask(ResizeDisk{"disk0", 2 * kBytes + 1}), EINVAL, "no multiple of its blocks");
  expect_error(one.ask(ResizeDisk{"disk0", 0}), EINVAL, "no multiple of its blocks");
  expect_error(one.ask(ResizeDisk{"disk1", kBytes}), ENOENT, "there is no disk 'disk1'");
  expect_error(one.ask(ResizeDisk{"balloon0", kBytes}), ENOENT, "there is no disk 'balloon0'");
  expect_error(one.ask(ResizeDisk{"null0", 2 * kBytes}), ENOTSUP, "null0: its medium keeps");
}

TEST(MachineControlTest, RatesOfADiskChangeWhileItIsUsed) {
  ControlledMachine one;
  one.run();
  const auto ask = [&](const char* id, const char* rates) {
    return one.ask(SetRates{id, PropertyList::parse(rates, "").value_or(PropertyList())});
  };
  const auto rates = [&] {
    return std::get<MachineInfo>(*one.ask(GetInfo{})).config->disks.front().rates;
  };
  EXPECT_TRUE(ask("disk0", "iops=1000,bps=1M,burst=5ms"));
  EXPECT_EQ(rates().units, 1000U);
  EXPECT_EQ(rates().bytes, 1U << 20);
  EXPECT_EQ(rates().burst, std::chrono::milliseconds(5));
  EXPECT_TRUE(ask("disk0", "bps=1M"));
  EXPECT_EQ(rates().units, 1000U) << "was not named";
  EXPECT_TRUE(ask("disk0", "iops=0"));
  EXPECT_EQ(rates().units, 0U);
  EXPECT_EQ(rates().bytes, 1U << 20) << "was not named";
  expect_error(ask("disk0", "pps=1"), EINVAL, "pps");
  expect_error(ask("disk0", "iops=-1"), EINVAL, "iops");
  expect_error(ask("balloon0", "iops=1"), ENOENT, "no disk, NIC or group of rates 'balloon0'");
  EXPECT_EQ(rates().bytes, 1U << 20) << "as it was";
}

TEST(MachineControlTest, ThreadsArePinnedWhileTheyRun) {
  ControlledMachine one;
  one.run();
  const auto cpus_of = [](int tid) {
    cpu_set_t set;
    CPU_ZERO(&set);
    EXPECT_EQ(::sched_getaffinity(tid, sizeof set, &set), 0);
    CpuList cpus;
    for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
    }
    return cpus;
  };
  const CpuList last = {allowed_cpus().back()};
  EXPECT_TRUE(one.ask(PinThread{"vcpu0", format_cpu_list(last)}));
  EXPECT_EQ(cpus_of(one.machine->vcpu_tids().front()), last);
  EXPECT_NE(cpus_of(one.machine->iothread_tids().front()), last) << "another thread";
  EXPECT_TRUE(one.ask(PinThread{"io0", format_cpu_list(last)}));
  EXPECT_EQ(cpus_of(one.machine->iothread_tids().front()), last);
  EXPECT_TRUE(one.ask(Reboot{}));
  EXPECT_EQ(cpus_of(one.machine->vcpu_tids().front()), last);
  expect_error(one.ask(PinThread{"vcpu9", "0"}), ENOENT, "no thread 'vcpu9'; there are vcpu0, io0");
  expect_error(one.ask(PinThread{"vcpu0", "1000"}), EINVAL, "CPU 1000 is not available here");
  expect_error(one.ask(PinThread{"vcpu0", "x"}), EINVAL, "is not a list of CPUs");
}

TEST(MachineControlTest, ABalloonIsAskedForAndNothingElse) {
  ControlledMachine one;
  one.run();
  const auto wanted = [&] {
    for (const auto& device : one.machine->counters().devices) {
      if (device.id != "balloon0") continue;
      for (const auto& stat : device.stats) {
        if (std::string_view(stat.name) == "wanted_bytes") return stat.value;
      }
    }
    return UINT64_MAX;
  };
  constexpr std::uint64_t kMiB = 1 << 20;
  EXPECT_TRUE(one.ask(Resize{.balloon_bytes = kMiB}));
  EXPECT_EQ(wanted(), kMiB);
  expect_error(one.ask(Resize{.balloon_bytes = kMiB + 1}), EINVAL, "no multiple");
  expect_error(one.ask(Resize{.balloon_bytes = ControlledMachine::kMemory + 4096}), EINVAL,
               "more than the guest's memory");
  EXPECT_EQ(wanted(), kMiB);
  EXPECT_TRUE(one.ask(Resize{.vcpus = 1, .memory_bytes = ControlledMachine::kMemory}));
  expect_error(one.ask(Resize{.vcpus = 2}), ENOTSUP, "cannot change");
  expect_error(one.ask(Resize{.memory_bytes = 4096}), ENOTSUP, "cannot change");
}

TEST(MachineControlTest, WithoutABalloonThereIsNoneToAsk) {
  ControlledMachine one([](MachineConfig& config) { config.balloons.clear(); });
  one.run();
  expect_error(one.ask(Resize{.balloon_bytes = 4096}), ENOENT, "no balloon (see --balloon)");
  EXPECT_EQ(std::get<MachineInfo>(*one.ask(GetInfo{})).memory_bytes, ControlledMachine::kMemory);
}

TEST(MachineControlTest, TheProgramsOwnMachineStays) {
  ControlledMachine one;
  one.run();
  expect_error(one.ask(DeleteMachine{}), ENOTSUP, "this machine is the program's");
  expect_error(one.ask(CreateMachine{}), EBUSY, "there is a machine already");
}

}  // namespace
}  // namespace bellhop::control
