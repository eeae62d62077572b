#include "config/device_addition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <string>

#include "config/machine_options.h"

namespace bellhop {
namespace {

using ::testing::HasSubstr;

class DeviceAdditionTest : public ::testing::Test {
 protected:
  DeviceAdditionTest() {
    for (std::string* const name : {&kernel_, &image_, &other_}) {
      char path[] = "/tmp/bellhop-addition-XXXXXX";
      const int fd = ::mkstemp(path);
      EXPECT_EQ(::ftruncate(fd, 1 << 20), 0);
      ::close(fd);
      *name = path;
    }
    MachineOptions options;
    options.kernel = kernel_;
    options.disks = {list("path=" + image_), list("null=1M,id=b")};
    options.iothreads = {list("name=x"), list("name=y")};
    auto machine = make_machine_config(options);
    EXPECT_TRUE(machine) << machine.error().message;
    machine_ = std::move(*machine);
  }
  ~DeviceAdditionTest() override {
    for (const std::string& name : {kernel_, image_, other_}) ::unlink(name.c_str());
  }

  static PropertyList list(const std::string& text) {
    return text.empty() ? PropertyList() : PropertyList::parse(text).value();
  }
  DeviceAddition add(const std::string& kind, const std::string& text) {
    auto addition = make_device_addition(kind, list(text), machine_);
    EXPECT_TRUE(addition) << addition.error().message;
    return std::move(addition).value();
  }
  std::string fault(const std::string& kind, const std::string& text) {
    const auto addition = make_device_addition(kind, list(text), machine_);
    return addition ? "" : addition.error().message;
  }

  std::string kernel_;
  std::string image_;
  std::string other_;
  MachineConfig machine_;
};

TEST_F(DeviceAdditionTest, IsOneDeviceAndTheMachineWithIt) {
  const DeviceAddition added = add("disk", "path=" + other_ + ",iothread=y");
  EXPECT_EQ(added.id, "disk1") << "disk0 is there";
  EXPECT_EQ(added.alone.disks.size(), 1U);
  EXPECT_EQ(added.alone.disks.front().id, "disk1");
  EXPECT_EQ(added.alone.disks.front().iothread, "y");
  EXPECT_EQ(added.alone.iothreads.size(), 2U);
  EXPECT_EQ(added.machine.disks.size(), 3U);
  EXPECT_EQ(added.machine.kernel, kernel_);
  EXPECT_TRUE(has_device(added.machine, "disk1"));
  EXPECT_FALSE(has_device(machine_, "disk1")) << "not before it has it";
}

TEST_F(DeviceAdditionTest, LooksAtWhatItsMachineDoesUnlessItSays) {
  machine_.optimize = Optimize::kLatency;
  EXPECT_EQ(add("disk", "null=1M,notify=adaptive").alone.disks.front().optimize,
            Optimize::kLatency);
  EXPECT_EQ(add("disk", "null=1M,notify=adaptive,optimize=efficiency").alone.disks.front().optimize,
            Optimize::kEfficiency);
}

TEST_F(DeviceAdditionTest, IsCheckedAsAtTheStart) {
  EXPECT_THAT(fault("disc", ""), HasSubstr("'disc'; it must be one of disk, net, rng"));
  EXPECT_THAT(fault("disk", "pth=x"), HasSubstr("--disk: unknown key 'pth'"));
  EXPECT_THAT(fault("disk", "path=/no/such"), HasSubstr("/no/such"));
  EXPECT_THAT(fault("disk", "null=1M,iothread=z"), HasSubstr("iothread=z is not there"));
  EXPECT_THAT(fault("rng", "id=b"), HasSubstr("--rng: id=b is given to two devices"));
  EXPECT_THAT(fault("disk", "path=" + image_), HasSubstr("is the file of --disk disk0, too"));
  EXPECT_THAT(fault("disk", "path=" + kernel_), HasSubstr("is the file of --kernel, too"));
  EXPECT_THAT(fault("fs", "tag=a,socket=/tmp/s"), HasSubstr("shared=on from its start"));
  EXPECT_THAT(fault("console", "stdio"), HasSubstr("from its start or not at all"));
}

TEST_F(DeviceAdditionTest, OfSomeKindsAMachineHasOne) {
  machine_ = add("vsock", "cid=3,uds=/tmp/x").machine;
  EXPECT_THAT(fault("vsock", "cid=4,uds=/tmp/y"),
              HasSubstr("one at most, and this one has it: vsock0"));
  machine_ = add("console", "null").machine;
  EXPECT_THAT(fault("console", "null"), HasSubstr("one at most"));
  machine_ = add("rng", "").machine;
  EXPECT_EQ(add("rng", "").id, "rng1");
}

TEST_F(DeviceAdditionTest, WhatIsTakenAwayLeavesItsIdAndItsFiles) {
  EXPECT_FALSE(remove_device(machine_, "none"));
  ASSERT_TRUE(remove_device(machine_, "disk0"));
  EXPECT_EQ(machine_.disks.size(), 1U);
  EXPECT_EQ(add("disk", "path=" + image_).id, "disk0");
  machine_ = add("rng", "src=" + other_).machine;
  EXPECT_THAT(fault("disk", "path=" + other_), HasSubstr("is the file of --rng rng0, too"));
  ASSERT_TRUE(remove_device(machine_, "rng0"));
  EXPECT_EQ(fault("disk", "path=" + other_), "");
  machine_ = add("console", "file=" + other_).machine;
  ASSERT_TRUE(remove_device(machine_, "console0"));
  EXPECT_EQ(fault("disk", "path=" + other_), "");
}

}  // namespace
}  // namespace bellhop
