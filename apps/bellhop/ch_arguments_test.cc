#include "apps/bellhop/ch_arguments.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

namespace bellhop {
namespace {

std::string words(const std::vector<std::string>& given) {
  const auto arguments = read_ch_arguments(given);
  if (!arguments) return arguments.error().message;
  return fmt::format("{}", fmt::join(arguments->words, " "));
}

TEST(ChArgumentsTest, GoesByTheNameOfTheProgram) {
  EXPECT_TRUE(is_ch_name("cloud-hypervisor"));
  EXPECT_TRUE(is_ch_name("/usr/bin/cloud-hypervisor"));
  EXPECT_FALSE(is_ch_name("bellhop"));
  EXPECT_FALSE(is_ch_name("/opt/cloud-hypervisor/bellhop"));
}

// How Kata and libvirt start it.
TEST(ChArgumentsTest, ClientsGetAProgramWithoutAMachine) {
  EXPECT_EQ(words({"--api-socket", "/run/s", "-v", "--seccomp", "false"}),
            "run --api-socket /run/s --seccomp off");
  EXPECT_EQ(words({"--api-socket", "fd=4", "--event-monitor", "path=/run/fifo"}),
            "run --api-socket fd=4 --event-monitor path=/run/fifo");
  EXPECT_EQ(words({"--api-socket", "path=/run/s"}), "run --api-socket /run/s");
  EXPECT_EQ(words({"--version"}), "--version");
  EXPECT_EQ(words({"-v", "-V"}), "--version");
  const std::vector<std::string> logged = {"--log-file", "/l", "--api-socket", "s"};
  EXPECT_EQ(read_ch_arguments(logged)->log_file, "/l");
}

TEST(ChArgumentsTest, AMachineOfItsOwnOptions) {
  EXPECT_EQ(words({"--kernel", "k", "--initramfs", "i", "--cmdline", "a b", "--cpus",
                   "boot=2,max=4", "--memory", "size=1G,shared=true", "--serial", "off",
                   "--console", "off", "--rng", "src=/dev/urandom"}),
            "run --kernel k --initrd i --cmdline a b --cpus 2 --memory size=1G,shared=on --serial "
            "null --console null --rng src=/dev/urandom");
  EXPECT_EQ(words({"--disk", "path=a,readonly=on,direct=on,num_queues=2", "path=b,direct=off",
                   "--net", "tap=t,num_queues=4,queue_size=128"}),
            "run --disk path=a,readonly=on,cache=none,queues=2 --disk path=b --net "
            "tap=t,queues=2,queue-size=128");
  EXPECT_EQ(words({"--serial", "pty"}), "run --serial pty");
  EXPECT_EQ(words({"--cpus", "3", "--memory", "512M"}), "run --cpus 3 --memory size=512M");
  EXPECT_EQ(words({"--vsock", "cid=3,socket=/v", "--balloon", "size=1M,deflate_on_oom=on"}),
            "run --vsock cid=3,uds=/v --balloon size=1M,deflate-on-oom=on");
}

TEST(ChArgumentsTest, WhatMeansNothingIsRefusedByName) {
  EXPECT_EQ(words({"--pmem", "file=x"}),
            "--pmem: this option is not supported under the name cloud-hypervisor");
  EXPECT_EQ(words({"--disk", "path=a,iommu=on"}), "--disk: iommu is not supported");
  EXPECT_EQ(words({"--api-socket"}), "--api-socket: a value is missing");
  EXPECT_EQ(words({"--disk", "path=a,,,"}), "--disk: an item is empty; write key=value,key=value");
}

}  // namespace
}  // namespace bellhop
