// Devices that another process serves: vhost-user= of --disk and --net.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <string>

#include "config/machine_options.h"

namespace bellhop {
namespace {

using ::testing::HasSubstr;

class BackEndOptionsTest : public ::testing::Test {
 protected:
  BackEndOptionsTest() {
    std::string kernel = "/tmp/bellhop-options-XXXXXX";
    const int fd = ::mkstemp(kernel.data());
    if (fd >= 0) ::close(fd);
    options_.kernel = kernel;
  }
  ~BackEndOptionsTest() override { ::unlink(options_.kernel->text.c_str()); }

  static PropertyList list(const std::string& text) {
    auto parsed = PropertyList::parse(text);
    EXPECT_TRUE(parsed.has_value()) << text;
    return parsed.value_or(PropertyList());
  }
  std::string fault_of_disk(const std::string& text) {
    options_.disks = {list(text)};
    return fault();
  }
  std::string fault_of_nic(const std::string& text) {
    options_.nics = {list(text)};
    return fault();
  }
  std::string fault() {
    const auto config = make_machine_config(options_);
    return config ? "" : config.error().message;
  }

  MachineOptions options_;
};

TEST_F(BackEndOptionsTest, DisksAndNics) {
  options_.disks = {list("null=1G"), list("vhost-user=/run/disk.sock,queues=4,queue-size=128")};
  options_.nics = {list("vhost-user=/run/net.sock,mtu=9000,mac=02:00:00:12:34:56,queues=3,id=n")};
  const auto config = make_machine_config(options_);
  ASSERT_TRUE(config) << config.error().message;
  const DiskConfig& disk = config->disks[1];
  ASSERT_NE(disk.back_end(), nullptr);
  EXPECT_EQ(disk.back_end()->socket, "/run/disk.sock");
  EXPECT_EQ(disk.queues, 4U);
  EXPECT_EQ(disk.queue_size, 128U);
  EXPECT_EQ(disk.id, "disk1");
  EXPECT_EQ(config->disks[0].back_end(), nullptr);
  const NicConfig& nic = config->nics[0];
  ASSERT_NE(nic.back_end(), nullptr);
  EXPECT_EQ(nic.back_end()->socket, "/run/net.sock");
  EXPECT_EQ(nic.back_end()->mtu, 9000U);
  EXPECT_EQ(nic.back_end()->pairs, 3U);
  EXPECT_NE(nic.mac, 0U);
  // Their queues go by ioeventfds alone, and the memory is mapped by others.
  EXPECT_EQ(config->reserved_ioeventfds, 4U + 6U);
  EXPECT_EQ(config->backing, MemoryBacking::kShared);
}

TEST_F(BackEndOptionsTest, WithoutThemMemoryIsNobodyElses) {
  options_.disks = {list("null=1G")};
  options_.nics = {list("tap=tap0")};
  const auto config = make_machine_config(options_);
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->backing, MemoryBacking::kPrivate);
  EXPECT_EQ(config->reserved_ioeventfds, 0U);
}

TEST_F(BackEndOptionsTest, SaysWhatIsWrongWithADisk) {
  EXPECT_THAT(fault_of_disk("vhost-user="), HasSubstr("--disk: vhost-user needs a value"));
  EXPECT_THAT(fault_of_disk("vhost-user"), HasSubstr("--disk: vhost-user needs a value"));
  EXPECT_THAT(fault_of_disk("vhost-user=" + std::string(108, 's')),
              HasSubstr("at most 107 characters"));
  EXPECT_THAT(fault_of_disk("vhost-user=s,path=f"), HasSubstr("no two of them"));
  EXPECT_THAT(fault_of_disk("vhost-user=s,null=1G"), HasSubstr("no two of them"));
  for (const char* const key :
       {"readonly=on", "cache=none", "aio=native", "locking=off", "format=raw", "block-size=512"}) {
    EXPECT_THAT(fault_of_disk(std::string("vhost-user=s,") + key), HasSubstr("goes with path="))
        << key;
  }
  EXPECT_THAT(fault_of_disk("vhost-user=s,latency=1ms"), HasSubstr("latency goes with null="));
  for (const char* const way : {"sync", "poll", "adaptive"}) {
    EXPECT_THAT(fault_of_disk(std::string("vhost-user=s,notify=") + way),
                HasSubstr("ioeventfd: the back end (vhost-user) serves the queues"))
        << way;
  }
  EXPECT_THAT(fault_of_disk("vhost-user=s,optimize=efficiency"), HasSubstr("notify=adaptive"));
  EXPECT_THAT(fault_of_disk("vhost-user=s,coalesce=50us"), HasSubstr("interrupts the guest"));
  EXPECT_THAT(fault_of_disk("vhost-user=s,queue-reset=on"), HasSubstr("queue-reset=on"));
  EXPECT_EQ(fault_of_disk("vhost-user=s,packed=on,in-order=on"), "") << "the back end knows";
  EXPECT_EQ(fault_of_disk("vhost-user=s,notification-data=on"), "");
  EXPECT_THAT(fault_of_disk("vhost-user=s,iothread=io0"), HasSubstr("iothread"));
  EXPECT_THAT(fault_of_disk("vhost-user=s,queues=0"), HasSubstr("queues=0"));
  EXPECT_THAT(fault_of_disk("vhost-user=s,queue-size=100"), HasSubstr("a power of two"));
  EXPECT_EQ(fault_of_disk("vhost-user=s,notify=ioeventfd,packed=off"), "");
  EXPECT_THAT(fault_of_disk("path=/f,vhost_user=s"), HasSubstr("vhost-user"));
}

TEST_F(BackEndOptionsTest, SaysWhatIsWrongWithANic) {
  EXPECT_THAT(fault_of_nic("vhost-user=s,tap=t"), HasSubstr("no two of them"));
  EXPECT_THAT(fault_of_nic("vhost-user=s,queues=65"), HasSubstr("from 1 to 64"));
  EXPECT_THAT(fault_of_nic("vhost-user=s,mtu=67"), HasSubstr("mtu=67"));
  EXPECT_THAT(fault_of_nic("vhost-user=s,vhost=on"), HasSubstr("vhost"));
  EXPECT_THAT(fault_of_nic("vhost-user=s,gro=off"), HasSubstr("gro"));
  EXPECT_THAT(fault_of_nic("vhost-user=s,hostfwd=tcp::1-:1"), HasSubstr("goes with user"));
  EXPECT_THAT(fault_of_nic("vhost-user=s,notify=sync"), HasSubstr("serves the queues"));
  EXPECT_THAT(fault_of_nic("vhost-user=s,queue-reset=on"), HasSubstr("queue-reset=on"));
  EXPECT_EQ(fault_of_nic("vhost-user=s,packed=on,in-order=on"), "");
  EXPECT_THAT(fault_of_nic("vhost-user=s,iothread=io0"), HasSubstr("iothread"));
  EXPECT_EQ(fault_of_nic("vhost-user=s,queues=1,queue-size=1024"), "");
}

TEST_F(BackEndOptionsTest, ABackEndServesOneDevice) {
  options_.disks = {list("vhost-user=/run/a"), list("vhost-user=/run/a")};
  EXPECT_THAT(fault(), HasSubstr("--disk: vhost-user=/run/a is given to two devices"));
  options_.disks.clear();
  options_.nics = {list("vhost-user=/run/a"), list("vhost-user=/run/b"), list("vhost-user=/run/a")};
  EXPECT_THAT(fault(), HasSubstr("--net: vhost-user=/run/a is given to two devices"));
}

TEST_F(BackEndOptionsTest, MemoryThatIsNotToBeShared) {
  options_.memory = list("size=256M,shared=off");
  EXPECT_THAT(fault_of_disk("vhost-user=s"), HasSubstr("leave shared=off out"));
  options_.disks.clear();
  EXPECT_THAT(fault_of_nic("vhost-user=s"), HasSubstr("leave shared=off out"));
}

TEST_F(BackEndOptionsTest, InAFile) {
  const auto options = parse_options_text(
      "[[disk]]\nvhost-user = \"disk.sock\"\nqueues = 2\n"
      "[[net]]\nvhost-user = \"/run/net.sock\"\nmtu = 1400\n",
      "/etc/vm/machine.toml");
  ASSERT_TRUE(options) << options.error().message;
  const auto disk = DiskConfig::parse(options->disks.at(0));
  ASSERT_TRUE(disk) << disk.error().message;
  EXPECT_EQ(disk->back_end()->socket, "/etc/vm/disk.sock") << "meant from the file's folder";
  EXPECT_EQ(disk->place, "/etc/vm/machine.toml:2");
  EXPECT_EQ(disk->queues, 2U);
  EXPECT_EQ(NicConfig::parse(options->nics.at(0))->back_end()->mtu, 1400U);
}

}  // namespace
}  // namespace bellhop
