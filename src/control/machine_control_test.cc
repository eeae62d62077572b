#include "control/machine_control.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "config/device_addition.h"
#include "machine/platform/pci_hotplug.h"
#include "testing/control_fixture.h"

namespace bellhop::control {
namespace {

using bellhop::testing::ControlledMachine;
using bellhop::testing::eventually;
using ::testing::HasSubstr;

void expect_error(const Result<Answer>& answer, int code, const char* text) {
  ASSERT_FALSE(answer) << text;
  EXPECT_EQ(answer.error().code, code) << answer.error().message;
  EXPECT_THAT(answer.error().message, HasSubstr(text));
}

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

class DevicesComeAndGoTest : public ::testing::Test {
 protected:
  DevicesComeAndGoTest() {
    one_.on_marker = [this] { ++markers_; };
  }
  static AddDevice disk(const std::string& text) {
    return {.kind = "disk", .properties = PropertyList::parse(text).value()};
  }
  bool counted(const std::string& id) {
    const auto counters = std::get<MachineCounters>(*one_.ask(GetCounters{}));
    return std::ranges::find(counters.devices, id, &DeviceStats::id) != counters.devices.end();
  }
  bool told_of(const std::string& id) {
    return has_device(*std::get<MachineInfo>(*one_.ask(GetInfo{})).config, id);
  }
  /// The guest lets go what it was asked for, as its ACPI does.
  void eject(unsigned number) {
    one_.vcpu().push_exit(
        ControlledMachine::out(kPciHotplugPorts.address + PciHotplug::kEjectOffset, 1U << number));
  }

  std::atomic<int> markers_{0};
  ControlledMachine one_;
};

TEST_F(DevicesComeAndGoTest, ADeviceComesAndTheGuestLetsItGo) {
  one_.run();
  for (int round = 0; round < 3; ++round) {
    const auto added = one_.ask(disk("null=1M,id=late"));
    ASSERT_TRUE(added) << added.error().message;
    EXPECT_EQ(std::get<AddedDevice>(*added).id, "late");
    EXPECT_EQ(std::get<AddedDevice>(*added).bdf, "0000:00:04.0") << "behind three and the bridge";
    EXPECT_TRUE(counted("late"));
    EXPECT_TRUE(told_of("late"));
    expect_error(one_.ask(ResizeDisk{.id = "late", .bytes = 2 << 20}), ENOTSUP, "late: ");
    eject(4);  // not asked for: it stays
    one_.vcpu().push_exit(ControlledMachine::marker());
    ASSERT_TRUE(eventually([&] { return markers_ == round + 1; }));
    EXPECT_TRUE(counted("late"));
    ASSERT_TRUE(one_.ask(RemoveDevice{.id = "late"}));
    EXPECT_TRUE(counted("late")) << "the guest has it";
    eject(4);
    ASSERT_TRUE(eventually([&] { return !counted("late") && !told_of("late"); }));
    EXPECT_EQ(one_.state(), MachineState::kRunning);
    expect_error(one_.ask(ResizeDisk{.id = "late", .bytes = 3 << 20}), ENOENT, "no disk 'late'");
  }
}

TEST_F(DevicesComeAndGoTest, OneThatItWasStartedWithGoesToo) {
  one_.run();
  ASSERT_TRUE(one_.ask(RemoveDevice{.id = "balloon0"}));
  const auto balloon = [&] {
    const auto config = std::get<MachineInfo>(*one_.ask(GetInfo{})).config;
    return !config->balloons.empty();
  };
  eject(3);
  ASSERT_TRUE(eventually([&] { return !balloon(); }));
  expect_error(one_.ask(Resize{.balloon_bytes = 4096}), ENOENT, "no balloon");
  ASSERT_TRUE(one_.ask(RemoveDevice{.id = "disk0"}));
  eject(1);
  ASSERT_TRUE(eventually([&] { return !counted("disk0"); }));
  // Its file is free, its number too.
  const auto again = one_.ask(disk(fmt::format("path=/proc/self/fd/{}", one_.image.get())));
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(std::get<AddedDevice>(*again).bdf, "0000:00:01.0");
}

TEST_F(DevicesComeAndGoTest, WhatIsWrongLeavesTheMachineAsItWas) {
  one_.run();
  expect_error(one_.ask(disk("null=1M,id=disk0")), EINVAL, "id=disk0 is given");
  expect_error(one_.ask(disk("path=/no/such")), EINVAL, "/no/such");
  expect_error(one_.ask(AddDevice{.kind = "floppy", .properties = {}}), EINVAL, "'floppy'");
  expect_error(one_.ask(RemoveDevice{.id = "late"}), ENOENT, "there is no device 'late'");
  for (int i = 0; i < 28; ++i) {
    ASSERT_TRUE(one_.ask(AddDevice{.kind = "rng", .properties = {}})) << i;
  }
  expect_error(one_.ask(disk("null=1M,id=late")), ENOSPC, "PCI bus 0 is full");
  EXPECT_FALSE(counted("late"));
  EXPECT_FALSE(told_of("late"));
}

/// A tap that nobody else has; invalid: this host or user may not.
UniqueFd open_tap() {
  UniqueFd tap(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  ifreq request{};
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (!tap.valid() || ::ioctl(tap.get(), TUNSETIFF, &request) != 0) return {};
  return tap;
}

TEST_F(DevicesComeAndGoTest, ANicMayBringItsDescriptors) {
  one_.run();
  const auto nic = [](int fd) {
    AddDevice command{.kind = "net", .properties = PropertyList::parse("id=late").value()};
    command.fds.push_back(std::make_shared<UniqueFd>(fd));
    return command;
  };
  expect_error(one_.ask(nic(::memfd_create("none", MFD_CLOEXEC))), 0, "is no tap");
  expect_error(
      one_.ask(AddDevice{.kind = "net", .properties = PropertyList::parse("fd=5").value()}), EINVAL,
      "descriptors come with the request");
  AddDevice disk = this->disk("null=1M");
  disk.fds = nic(::dup(0)).fds;
  expect_error(one_.ask(disk), EINVAL, "unknown key 'fd'");
  if (!open_tap().valid()) GTEST_SKIP() << "no right to a tap";
  for (int round = 0; round < 3; ++round) {
    AddDevice command = nic(open_tap().release());
    const std::weak_ptr<UniqueFd> tap = command.fds.front();
    const auto added = one_.ask(std::move(command));
    ASSERT_TRUE(added) << added.error().message;
    EXPECT_TRUE(eventually([&] { return tap.expired(); })) << "the NIC has its own";
    ASSERT_TRUE(one_.ask(AddDevice{.kind = "net",
                                   .properties = PropertyList::parse("id=second").value(),
                                   .fds = nic(open_tap().release()).fds}))
        << "whatever number the first one's had";
    ASSERT_TRUE(one_.ask(PowerOff{}));
    ASSERT_TRUE(one_.ask(RemoveDevice{.id = "late"}));
    ASSERT_TRUE(one_.ask(RemoveDevice{.id = "second"}));
    ASSERT_TRUE(one_.ask(Boot{}));
  }
}

TEST_F(DevicesComeAndGoTest, WithoutAGuestADeviceGoesAtOnce) {
  one_.run();
  ASSERT_TRUE(one_.ask(PowerOff{}));
  ASSERT_TRUE(one_.ask(disk("null=1M,id=late")));
  ASSERT_TRUE(one_.ask(RemoveDevice{.id = "null0"}));
  EXPECT_FALSE(counted("null0"));
  EXPECT_FALSE(told_of("null0"));
  EXPECT_EQ(one_.state(), MachineState::kOff);
  EXPECT_TRUE(one_.ask(Boot{}));
  EXPECT_TRUE(counted("late"));
}

// A guest that starts anew has no device in use, and finds those that are left.
TEST_F(DevicesComeAndGoTest, AResetLetsGoWhatWasAskedFor) {
  one_.run();
  ASSERT_TRUE(one_.ask(Pause{}));
  ASSERT_TRUE(one_.ask(RemoveDevice{.id = "null0"}));
  EXPECT_TRUE(counted("null0"));
  ASSERT_TRUE(one_.ask(Reboot{}));
  EXPECT_TRUE(eventually([&] { return !counted("null0") && !told_of("null0"); }));
}

TEST_F(DevicesComeAndGoTest, APausedGuestFindsWhatHasComeMeanwhile) {
  one_.run();
  ASSERT_TRUE(one_.ask(Pause{}));
  ASSERT_TRUE(one_.ask(disk("null=1M,id=late")));
  EXPECT_EQ(one_.state(), MachineState::kPaused);
  ASSERT_TRUE(one_.ask(Resume{}));
  ASSERT_TRUE(one_.ask(RemoveDevice{.id = "late"}));
  eject(4);
  EXPECT_TRUE(eventually([&] { return !counted("late"); }));
}

// Whoever looks meanwhile must not find half a device.
TEST_F(DevicesComeAndGoTest, CountersMayBeAskedForAllTheTime) {
  one_.run();
  std::atomic<bool> done{false};
  std::thread looks([&] {
    while (!done) {
      (void)one_.ask(GetCounters{});
      (void)one_.ask(GetMetrics{});
      (void)one_.ask(GetInfo{});
    }
  });
  for (int round = 0; round < 20; ++round) {
    ASSERT_TRUE(one_.ask(disk("null=1M,notify=adaptive,id=late")));
    ASSERT_TRUE(one_.ask(RemoveDevice{.id = "late"}));
    eject(4);
    ASSERT_TRUE(eventually([&] { return !counted("late"); }));
  }
  done = true;
  looks.join();
}

TEST(MachineControlTest, WithoutAPciBusDevicesStay) {
  ControlledMachine one([](MachineConfig& config) { config.transport = TransportKind::kMmio; });
  one.run();
  expect_error(one.ask(AddDevice{.kind = "rng", .properties = {}}), ENOTSUP, "--transport pci");
  expect_error(one.ask(RemoveDevice{.id = "null0"}), ENOTSUP, "--transport pci");
}

}  // namespace
}  // namespace bellhop::control
