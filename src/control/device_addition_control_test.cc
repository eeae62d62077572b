// Devices that come and go while a machine lives.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "config/device_addition.h"
#include "control/machine_control.h"
#include "machine/platform/pci_hotplug.h"
#include "testing/control_fixture.h"

namespace bellhop::control {
namespace {

using bellhop::testing::ControlledMachine;
using bellhop::testing::eventually;
using bellhop::testing::expect_error;

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

TEST(DevicesStayTest, WhereThereIsNoPciBus) {
  ControlledMachine one([](MachineConfig& config) { config.transport = TransportKind::kMmio; });
  one.run();
  expect_error(one.ask(AddDevice{.kind = "rng", .properties = {}}), ENOTSUP, "--transport pci");
  expect_error(one.ask(RemoveDevice{.id = "null0"}), ENOTSUP, "--transport pci");
}

}  // namespace
}  // namespace bellhop::control
