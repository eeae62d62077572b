#include "config/machine_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace bellhop {
namespace {

using ::testing::HasSubstr;

class MachineOptionsTest : public ::testing::Test {
 protected:
  MachineOptionsTest() {
    char name[] = "/tmp/bellhop-options-XXXXXX";
    folder_ = ::mkdtemp(name);
    options_.kernel = file("kernel");
  }
  ~MachineOptionsTest() override {
    for (const std::string& path : files_) ::unlink(path.c_str());
    ::rmdir(folder_.c_str());
  }

  std::string file(const std::string& name) {
    std::string path = folder_ + "/" + name;
    std::ofstream(path) << "x";
    files_.push_back(path);
    return path;
  }
  void disk(const std::string& text) {
    auto list = PropertyList::parse(text);
    ASSERT_TRUE(list.has_value()) << text;
    options_.disks.push_back(std::move(*list));
  }
  void net(const std::string& text) {
    auto list = PropertyList::parse(text);
    ASSERT_TRUE(list.has_value()) << text;
    options_.nics.push_back(std::move(*list));
  }
  void vsock(const std::string& text) {
    auto list = PropertyList::parse(text);
    ASSERT_TRUE(list.has_value()) << text;
    options_.vsocks.push_back(std::move(*list));
  }
  void share(const std::string& text) {
    auto list = PropertyList::parse(text);
    ASSERT_TRUE(list.has_value()) << text;
    options_.shares.push_back(std::move(*list));
  }
  void iothread(const std::string& text) {
    auto list = PropertyList::parse(text, "name");
    ASSERT_TRUE(list.has_value()) << text;
    options_.iothreads.push_back(std::move(*list));
  }
  std::string fault() {
    const auto config = make_machine_config(options_);
    return config ? "" : config.error().message;
  }

  std::string folder_;
  std::vector<std::string> files_;
  MachineOptions options_;
};

TEST_F(MachineOptionsTest, AStopTimeOutIsATimeWithItsUnit) {
  EXPECT_EQ(make_machine_config(options_)->stop_timeout, std::chrono::seconds(90));
  options_.stop_timeout = "0";
  EXPECT_EQ(make_machine_config(options_)->stop_timeout, std::chrono::seconds(0));
  options_.stop_timeout = "1500ms";
  EXPECT_EQ(make_machine_config(options_)->stop_timeout, std::chrono::milliseconds(1500));
  options_.stop_timeout = "86400s";
  EXPECT_EQ(make_machine_config(options_)->stop_timeout, std::chrono::hours(24));
  options_.stop_timeout = "86401s";
  EXPECT_THAT(fault(), HasSubstr("a time up to 86400s"));
}

TEST_F(MachineOptionsTest, DevicesShareTheRatesOfAGroup) {
  const auto group = [this](const std::string& text) {
    options_.rate_groups.push_back(PropertyList::parse(text, "id").value());
  };
  group("slow,iops=100,bps=1M,burst=5ms");
  disk("null=1G,id=a,rate-limit-group=slow");
  net("tap=x,rate-limit-group=slow");
  const auto config = make_machine_config(options_);
  ASSERT_TRUE(config) << config.error().message;
  ASSERT_EQ(config->rate_groups.size(), 1U);
  EXPECT_EQ(config->rate_groups[0].id, "slow");
  EXPECT_EQ(config->rate_groups[0].rates.units, 100U);
  EXPECT_EQ(config->rate_groups[0].rates.bytes, 1U << 20);
  EXPECT_EQ(config->rate_groups[0].rates.burst, std::chrono::milliseconds(5));
  EXPECT_EQ(config->disks[0].rate_group, "slow");
  EXPECT_EQ(config->nics[0].rate_group, "slow");
  const auto fault_of = [&](const std::string& text) {
    options_.rate_groups.resize(1);
    group(text);
    return fault();
  };
  EXPECT_THAT(fault_of("other"), HasSubstr("--rate-limit-group: iops= or bps= is missing"));
  EXPECT_THAT(fault_of("iops=5,bps=1"), HasSubstr("'' is no name"));
  EXPECT_THAT(fault_of("slow,iops=5"), HasSubstr("--rate-limit-group: id=slow is given twice"));
  EXPECT_THAT(fault_of("a,iops=5"), HasSubstr("id=a is given to two"));
  EXPECT_THAT(fault_of("b,iops=5,pps=3"), HasSubstr("pps"));
  EXPECT_THAT(fault_of("b,iops=0"), HasSubstr("iops"));
  options_.rate_groups.clear();
  EXPECT_THAT(fault(), HasSubstr("--disk: rate-limit-group=slow is not there"));
  options_.disks.clear();
  EXPECT_THAT(fault(), HasSubstr("--net: rate-limit-group=slow is not there"));
  options_.nics.clear();
  group("slow,iops=5");
  disk("null=1G,iops=3,rate-limit-group=slow");
  EXPECT_THAT(fault(), HasSubstr("the group has the rates"));
  options_.disks.clear();
  net("tap=x,vhost=on,rate-limit-group=slow");
  EXPECT_THAT(fault(), HasSubstr("a rate is for the kernel (vhost) to keep"));
}

TEST_F(MachineOptionsTest, FillsInDefaults) {
  disk("null=1G");
  disk("path=" + file("a"));
  const auto config = make_machine_config(options_);
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->cpus, 1U);
  EXPECT_EQ(config->memory, std::uint64_t{512} << 20);
  EXPECT_EQ(config->transport, TransportKind::kPci);
  ASSERT_EQ(config->iothreads.size(), 1U);
  ASSERT_EQ(config->disks.size(), 2U);
  EXPECT_EQ(config->disks[0].id, "disk0");
  EXPECT_EQ(std::get<NullSource>(config->disks[0].source).bytes, std::uint64_t{1} << 30);
  EXPECT_EQ(config->disks[1].id, "disk1");
  EXPECT_EQ(config->disks[1].iothread, config->iothreads[0].name);
  EXPECT_EQ(config->disks[1].notify, NotifyMode::kIoEventFd);
}

TEST_F(MachineOptionsTest, TakesTheLatencyOfANullMedium) {
  disk("null=1M");
  disk("null=1M,latency=50us");
  const auto config = make_machine_config(options_);
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(std::get<NullSource>(config->disks[0].source).latency, std::chrono::nanoseconds(0));
  EXPECT_EQ(std::get<NullSource>(config->disks[1].source).latency, std::chrono::microseconds(50));
  disk("null=1M,latency=2s");
  EXPECT_THAT(make_machine_config(options_).error().message,
              ::testing::HasSubstr("latency=2s is wrong; it must be a time up to"));
}

TEST_F(MachineOptionsTest, FillsInDefaultsOfANic) {
  net("tap=tap0");
  net("fd=7:8,id=uplink");
  const auto config = make_machine_config(options_);
  ASSERT_TRUE(config.has_value()) << config.error().message;
  ASSERT_EQ(config->nics.size(), 2U);
  const NicConfig& nic = config->nics[0];
  EXPECT_EQ(nic.id, "net0");
  EXPECT_EQ(std::get<TapSource>(nic.source).name, "tap0");
  EXPECT_EQ(std::get<TapSource>(nic.source).pairs, 1U);
  EXPECT_EQ(std::get<TapSource>(nic.source).mtu, 0U);
  EXPECT_EQ(nic.mac, 0U);
  EXPECT_EQ(nic.queue_size, 256U);
  EXPECT_TRUE(nic.gro);
  EXPECT_EQ(nic.vhost, Vhost::kOff);
  EXPECT_EQ(nic.notify, NotifyMode::kIoEventFd);
  EXPECT_EQ(nic.iothread, config->iothreads[0].name);
  EXPECT_EQ(std::get<TapSource>(config->nics[1].source).fds, (std::vector{7, 8}));
  EXPECT_EQ(std::get<TapSource>(config->nics[1].source).pairs, 2U);
}

TEST_F(MachineOptionsTest, TakesEveryKeyOfANic) {
  iothread("left");
  iothread("right");
  net("tap=tap0,id=lan,mac=02:00:00:12:34:56,mtu=9000,queues=4,queue-size=1024,gro=off,vhost=on,"
      "notify=sync,iothread=right:left");
  const auto config = make_machine_config(options_);
  ASSERT_TRUE(config.has_value()) << config.error().message;
  const NicConfig& nic = config->nics[0];
  EXPECT_EQ(nic.id, "lan");
  EXPECT_EQ(nic.mac, 0x5634'1200'0002U);
  EXPECT_EQ(std::get<TapSource>(nic.source).mtu, 9000U);
  EXPECT_EQ(std::get<TapSource>(nic.source).pairs, 4U);
  EXPECT_EQ(nic.queue_size, 1024U);
  EXPECT_FALSE(nic.gro);
  EXPECT_EQ(nic.vhost, Vhost::kOn);
  EXPECT_EQ(nic.notify, NotifyMode::kSync);
  EXPECT_EQ(nic.iothread, "right:left");
}

TEST_F(MachineOptionsTest, KeepsIoEventFdsForVhost) {
  net("tap=a,queues=2,vhost=on");
  net("tap=b");
  EXPECT_EQ(make_machine_config(options_)->reserved_ioeventfds, 4U);
  options_.max_ioeventfds = "3";
  EXPECT_EQ(make_machine_config(options_)->reserved_ioeventfds, 0U);
  options_.reserve_ioeventfds = "1";
  EXPECT_EQ(make_machine_config(options_)->reserved_ioeventfds, 1U);
}

TEST_F(MachineOptionsTest, KeepsIoEventFdsForVhostVsock) {
  vsock("cid=3,vhost=on");
  options_.max_ioeventfds = "4";
  EXPECT_EQ(make_machine_config(options_)->reserved_ioeventfds, 2U);
}

TEST_F(MachineOptionsTest, TheOneVsockOfAFileCanBeChanged) {
  auto file = parse_options_text(
      "kernel = '" + options_.kernel->text + "'\n[vsock]\ncid = 3\nuds = 'a'\n", "f");
  ASSERT_TRUE(file.has_value()) << file.error().message;
  MachineOptions later;
  later.vsocks.push_back(*PropertyList::parse("cid=7"));
  file->merge(later);
  const auto config = make_machine_config(*file);
  ASSERT_TRUE(config.has_value()) << config.error().message;
  ASSERT_EQ(config->vsocks.size(), 1U);
  EXPECT_EQ(config->vsocks[0].cid, 7U);
  EXPECT_EQ(config->vsocks[0].uds, "a");
}

TEST_F(MachineOptionsTest, AnEmptyFileSaysNothing) {
  std::filesystem::resize_file(file("empty"), 0);
  EXPECT_TRUE(read_options_file(folder_ + "/empty").has_value());
  EXPECT_FALSE(read_options_file(folder_ + "/absent").has_value());
}

TEST_F(MachineOptionsTest, TakesUserModeNetworking) {
  net("user,hostfwd=tcp::2222-:22,hostfwd=udp:127.0.0.1:5353-:53,mac=02:00:00:12:34:56,mtu=9000");
  const auto config = make_machine_config(options_);
  ASSERT_TRUE(config.has_value()) << config.error().message;
  const NicConfig& nic = config->nics[0];
  EXPECT_EQ(std::get<PasstSource>(nic.source).mtu, 9000U);
  const std::vector<PortForward> forwards{{PortForward::Protocol::kTcp, "", 2222, 22},
                                          {PortForward::Protocol::kUdp, "127.0.0.1", 5353, 53}};
  EXPECT_EQ(std::get<PasstSource>(nic.source).forwards, forwards);
  auto file = parse_options_text(
      "[[net]]\nid = 'n'\nuser = true\nhostfwd = ['tcp::1-:2', 'tcp::3-:4']", "f");
  ASSERT_TRUE(file.has_value()) << file.error().message;
  EXPECT_EQ(file->nics.at(0).all("hostfwd").size(), 2U);
  MachineOptions later;
  later.nics.push_back(*PropertyList::parse("id=n,hostfwd=tcp::5-:6"));
  file->merge(later);
  EXPECT_THAT(file->nics.at(0).all("hostfwd"), ::testing::ElementsAre("tcp::5-:6"));
  EXPECT_FALSE(parse_options_text("net = { hostfwd = [1.5] }", "f").has_value());
}

TEST_F(MachineOptionsTest, SaysWhatIsWrongWithANic) {
  const auto fault_of = [&](const std::string& text) {
    options_.nics.clear();
    net(text);
    return fault();
  };
  EXPECT_THAT(fault_of("id=x"),
              HasSubstr("one of tap=NAME or fd=N, user, vhost-user=SOCKET is needed"));
  EXPECT_THAT(fault_of("tap=a,fd=3"), HasSubstr("no two of them"));
  EXPECT_THAT(fault_of("tap=a,user"), HasSubstr("no two of them"));
  EXPECT_THAT(fault_of("tap=a,hostfwd=tcp::1-:2"), HasSubstr("hostfwd goes with user"));
  EXPECT_THAT(fault_of("user,queues=2"), HasSubstr("queues goes with tap=NAME or fd=N"));
  EXPECT_THAT(fault_of("user,vhost=on"), HasSubstr("vhost"));
  EXPECT_THAT(fault_of("user,hostfwd=2222:22"), HasSubstr("tcp::2222-:22"));
  EXPECT_THAT(fault_of("user,hostfwd=tcp::1-:2,hostfwd=tcp:127.0.0.1:1-:3"),
              HasSubstr("port 1 is given twice"));
  EXPECT_THAT(fault_of("tap=0123456789abcdef"), HasSubstr("1 to 15 characters"));
  EXPECT_THAT(fault_of("tap=a/b"), HasSubstr("tap"));
  EXPECT_THAT(fault_of("tap="), HasSubstr("tap"));
  for (const char* mac :
       {"", "1", "02:00:00:00:00", "02:00:00:00:00:00:00", "02:00:00:00:00:zz", "2:0:0:0:0:1",
        "01:00:00:00:00:01", "00:00:00:00:00:00", "02-00-00-00-00-01", "+2:00:00:00:00:01"}) {
    EXPECT_THAT(fault_of("tap=a,mac=" + std::string(mac)), HasSubstr("mac")) << mac;
  }
  for (const char* fd : {"", "x", "1", "3:", "3:3", "-1", "99999999999"}) {
    EXPECT_THAT(fault_of("fd=" + std::string(fd)), HasSubstr("fd")) << fd;
  }
  EXPECT_THAT(fault_of("fd=3:4,queues=3"), HasSubstr("queues=3"));
  EXPECT_THAT(fault_of("tap=a,mtu=67"), HasSubstr("mtu"));
  EXPECT_THAT(fault_of("tap=a,mtu=70000"), HasSubstr("mtu"));
  EXPECT_THAT(fault_of("tap=a,queues=0"), HasSubstr("queues"));
  EXPECT_THAT(fault_of("tap=a,queue-size=100"), HasSubstr("power of two"));
  EXPECT_THAT(fault_of("tap=a,vhost=yes"), HasSubstr("off, on, force"));
  EXPECT_THAT(fault_of("tap=a,notify=off"), HasSubstr("ioeventfd, sync, poll, adaptive"));
  EXPECT_THAT(fault_of("tap=a,iothread=none"), HasSubstr("--net: iothread=none"));
  EXPECT_THAT(fault_of("tap=a,iothread=io0:io7"), HasSubstr("--net: iothread=io7"));
  EXPECT_THAT(fault_of("tap=a,iothread=:"), HasSubstr("--net: iothread="));
  EXPECT_THAT(fault_of("tap=a,ifname=x"), HasSubstr("ifname"));
  net("tap=b");
  options_.nics.erase(options_.nics.begin());
  net("tap=b,id=other");
  EXPECT_THAT(fault(), HasSubstr("tap=b is used by two"));
  options_.nics.clear();
  net("tap=a,id=x");
  net("tap=b,id=x");
  EXPECT_THAT(fault(), HasSubstr("id=x"));
  options_.nics.clear();
  net("fd=10:11");
  net("fd=12:11");
  EXPECT_THAT(fault(), HasSubstr("fd=11 is used by two"));
}

TEST_F(MachineOptionsTest, TakesEveryKeyOfAVsock) {
  iothread("left");
  iothread("right");
  vsock("cid=3,uds=/run/v.sock");
  auto config = make_machine_config(options_);
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->vsocks.at(0).id, "vsock0");
  EXPECT_EQ(config->vsocks[0].cid, 3U);
  EXPECT_EQ(config->vsocks[0].uds, "/run/v.sock");
  EXPECT_EQ(config->vsocks[0].vhost, VsockVhost::kOff);
  EXPECT_EQ(config->vsocks[0].notify, NotifyMode::kIoEventFd);
  EXPECT_EQ(config->vsocks[0].iothread, "left");
  options_.vsocks.clear();
  vsock("cid=4294967294,uds=v,id=talk,vhost=off,notify=sync,iothread=right");
  config = make_machine_config(options_);
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->vsocks[0].id, "talk");
  EXPECT_EQ(config->vsocks[0].notify, NotifyMode::kSync);
  EXPECT_EQ(config->vsocks[0].iothread, "right");
  const auto file = parse_options_text("[vsock]\ncid = 5\nuds = 'v'", "f");
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(file->vsocks.at(0).find("cid")->value, "5");
}

TEST_F(MachineOptionsTest, TakesEveryKeyOfAShare) {
  iothread("left");
  iothread("right");
  options_.memory = *PropertyList::parse("64M", "size");
  share("tag=home,socket=/run/fs.sock");
  share("tag=123456789012345678901234567890123456,socket=s,num-queues=4,queue-size=64,id=big");
  const auto config = make_machine_config(options_);
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->shares.at(0).id, "fs0");
  EXPECT_EQ(config->shares[0].tag, "home");
  EXPECT_EQ(config->shares[0].socket, "/run/fs.sock");
  EXPECT_EQ(config->shares[0].num_queues, 1U);
  EXPECT_EQ(config->shares[0].queue_size, 1024U);
  EXPECT_EQ(config->shares[0].iothread, "left");
  EXPECT_EQ(config->shares.at(1).id, "big");
  EXPECT_EQ(config->shares[1].num_queues, 4U);
  EXPECT_EQ(config->shares[1].queue_size, 64U);
  // Another process maps the memory, and no queue can do without an ioeventfd.
  EXPECT_EQ(config->backing, MemoryBacking::kShared);
  EXPECT_EQ(config->reserved_ioeventfds, 7U);
  const auto file = parse_options_text("[fs]\ntag = 't'\nsocket = 's'", "f");
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(file->shares.at(0).find("tag")->value, "t");
}

TEST_F(MachineOptionsTest, SaysWhatIsWrongWithAShare) {
  const std::pair<const char*, const char*> cases[] = {
      {"socket=s", "tag=NAME is missing"},
      {"tag=,socket=s", "tag"},
      {"tag=1234567890123456789012345678901234567,socket=s", "1 to 36 bytes"},
      {"tag=t", "socket=PATH is missing"},
      {"tag=t,socket=s,num-queues=0", "num-queues=0 is wrong"},
      {"tag=t,socket=s,queue-size=100", "a power of two"},
      {"tag=t,socket=s,notify=sync", "notify=sync is wrong"},
      {"tag=t,socket=s,iothread=io9", "iothread=io9 is not there"},
      {"tag=t,socket=s,uds=s", "unknown key 'uds'"},
  };
  for (const auto& [text, expected] : cases) {
    options_.shares.clear();
    share(text);
    EXPECT_THAT(fault(), ::testing::StartsWith("--fs: ")) << text;
    EXPECT_THAT(fault(), HasSubstr(expected)) << text;
  }
  options_.shares.clear();
  share("tag=t,socket=s");
  options_.memory = *PropertyList::parse("64M,shared=off", "size");
  EXPECT_THAT(fault(), HasSubstr("--fs: another process maps the guest's memory"));
  options_.memory = *PropertyList::parse("64M", "size");
  share("tag=t,socket=r");
  EXPECT_THAT(fault(), HasSubstr("--fs: tag=t is given to two shares"));
  options_.shares.pop_back();
  share("tag=u,socket=s");
  EXPECT_THAT(fault(), HasSubstr("--fs: socket=s is used by two shares"));
}

TEST_F(MachineOptionsTest, SaysWhatIsWrongWithAVsock) {
  const std::pair<const char*, const char*> cases[] = {
      {"uds=v", "cid=N is missing"},
      {"cid=3", "uds=PATH is missing"},
      {"cid=2,uds=v", "cid=2 is wrong; it must be a number from 3 to 4294967294"},
      {"cid=4294967295,uds=v", "from 3 to 4294967294"},
      {"cid=x,uds=v", "cid=x is wrong"},
      {"cid=3,uds=v,vhost=on", "uds=PATH goes with vhost=off"},
      {"cid=3,uds=v,vhost=yes", "off, on, force"},
      {"cid=3,uds=v,notify=off", "one of ioeventfd, sync, poll, adaptive"},
      {"cid=3,uds=v,iothread=io9", "--vsock: iothread=io9 is not there"},
      {"cid=3,uds=v,path=v", "unknown key 'path'"},
      {"cid=3,uds=v,id=abcdefghijklmnopqrstu", "at most 20 characters"},
  };
  for (const auto& [text, expected] : cases) {
    options_.vsocks.clear();
    vsock(text);
    EXPECT_THAT(fault(), ::testing::StartsWith("--vsock: "));
    EXPECT_THAT(fault(), HasSubstr(expected)) << text;
  }
  options_.vsocks.clear();
  vsock("cid=3,uds=v");
  vsock("cid=4,uds=w,id=other");
  EXPECT_THAT(fault(), HasSubstr("--vsock: a machine has one at most"));
  options_.vsocks.pop_back();
  options_.vsocks[0].set({"id", "a"});
  disk("null=1M,id=a");
  EXPECT_THAT(fault(), HasSubstr("id=a is given to two devices"));
}

TEST_F(MachineOptionsTest, TakesEveryKeyOfADisk) {
  iothread("left");
  iothread("right,loop=epoll,poll-max=20us,poll-idle=1ms");
  disk("path=" + file("a") +
       ",id=root,readonly,cache=none,aio=native,queues=4,queue-size=1024,notify=sync,iothread="
       "right");
  const auto config = make_machine_config(options_);
  ASSERT_TRUE(config.has_value()) << config.error().message;
  const DiskConfig& disk = config->disks[0];
  EXPECT_EQ(disk.id, "root");
  EXPECT_TRUE(std::get<RawFileSource>(disk.source).read_only);
  EXPECT_EQ(std::get<RawFileSource>(disk.source).cache, Cache::kNone);
  EXPECT_EQ(std::get<RawFileSource>(disk.source).aio, Aio::kNative);
  EXPECT_EQ(disk.queues, 4U);
  EXPECT_EQ(disk.queue_size, 1024U);
  EXPECT_EQ(disk.notify, NotifyMode::kSync);
  EXPECT_EQ(disk.iothread, "right");
  EXPECT_TRUE(config->iothreads[1].prefer_epoll);
  EXPECT_FALSE(config->iothreads[1].need_uring);
  EXPECT_EQ(config->iothreads[1].poll_max, std::chrono::microseconds(20));
  EXPECT_EQ(config->iothreads[1].poll_idle, std::chrono::milliseconds(1));
}

TEST_F(MachineOptionsTest, SpreadsDisksOverIoThreads) {
  iothread("left");
  iothread("right");
  disk("null=1M");
  disk("null=1M,iothread=auto");
  disk("null=1M");
  disk("null=1M,queues=2,iothread=right:left");
  const auto config = make_machine_config(options_);
  ASSERT_TRUE(config.has_value());
  EXPECT_EQ(config->disks[0].iothread, "left");
  EXPECT_EQ(config->disks[1].iothread, "right");
  EXPECT_EQ(config->disks[2].iothread, "left");
  EXPECT_EQ(config->disks[3].iothread, "right:left");
}

TEST_F(MachineOptionsTest, SaysWhatIsWrongWithADisk) {
  const std::string path = file("a");
  const std::pair<std::string, const char*> cases[] = {
      {"id=x", "one of path=FILE, null=SIZE, vhost-user=SOCKET is needed"},
      {"path=" + path + ",null=1M", "one of path=FILE, null=SIZE, vhost-user=SOCKET is needed"},
      {"path=" + folder_ + "/absent", "absent: No such file"},
      {"path=" + folder_, "neither a file nor a block device"},
      {"path", "path needs a value"},
      {"path=" + path + ",queues=0", "queues=0 is wrong; it must be a number from 1 to 64"},
      {"path=" + path + ",queue-size=100", "queue-size=100 is wrong; it must be a power of two"},
      {"path=" + path + ",queue-size=65536", "from 2 to 32768"},
      {"path=" + path + ",notify=off", "it must be one of ioeventfd, sync, poll, adaptive"},
      {"path=" + path + ",cache=writethrough", "it must be one of none, writeback"},
      {"path=" + path + ",iothread=io9", "iothread=io9 is not there"},
      {"path=" + path + ",queues=2,iothread=io0:io9", "iothread=io9 is not there"},
      {"path=" + path + ",colour=red", "unknown key 'colour'"},
      {"path=" + path + ",id=abcdefghijklmnopqrstu", "at most 20 characters"},
      {"vhost-user=" + path + ",config-wce=on", "config-wce is the back end's"},
      {"null=100", "a size from 512"},
      {"null=1000", "a multiple of 512"},
  };
  for (const auto& [text, expected] : cases) {
    options_.disks.clear();
    disk(text);
    EXPECT_THAT(fault(), ::testing::ContainsRegex("^--disk( disk0)?: ")) << text;
    EXPECT_THAT(fault(), HasSubstr(expected)) << text;
  }
}

TEST_F(MachineOptionsTest, RefusesOneFileTwiceForWriting) {
  const std::string path = file("a");
  const std::string other_name = folder_ + "/b";
  ASSERT_EQ(::link(path.c_str(), other_name.c_str()), 0);
  files_.push_back(other_name);
  disk("path=" + path);
  disk("readonly,path=" + other_name);
  EXPECT_THAT(fault(),
              HasSubstr("--disk disk1: " + other_name + " is the file of --disk disk0, too"));
  options_.disks[0].set({"readonly", "on"});
  EXPECT_EQ(fault(), "");
}

TEST_F(MachineOptionsTest, RefusesIdsAndNamesGivenTwice) {
  disk("null=1M,id=a");
  disk("null=1M,id=a");
  EXPECT_THAT(fault(), HasSubstr("--disk: id=a is given twice"));
  options_.disks.clear();
  iothread("a");
  iothread("a");
  EXPECT_THAT(fault(), HasSubstr("--iothread: a is given twice"));
}

TEST_F(MachineOptionsTest, SaysWhatIsWrongWithTheMachine) {
  const auto check = [this](auto member, const char* value, const char* expected) {
    const MachineOptions kept = options_;
    options_.*member = value;
    EXPECT_THAT(fault(), HasSubstr(expected));
    options_ = kept;
  };
  check(&MachineOptions::kernel, "", "--kernel is missing");
  check(&MachineOptions::kernel, "/nonexistent", "--kernel: cannot open /nonexistent");
  check(&MachineOptions::initrd, "/nonexistent", "--initrd: cannot open /nonexistent");
  check(&MachineOptions::cpus, "0", "--cpus: '0' is wrong; it must be a number from 1 to 64");
  check(&MachineOptions::cpus, "two", "--cpus: 'two' is wrong");
  check(&MachineOptions::transport, "isa", "--transport: 'isa' is unknown");
  check(&MachineOptions::optimize, "cost",
        "--optimize: 'cost' is unknown; it must be one of throughput, efficiency, latency");
  check(&MachineOptions::halt_poll, "yes",
        "--halt-poll: 'yes' is wrong; it must be auto, off or a");
  check(&MachineOptions::halt_poll, "11ms", "--halt-poll: '11ms' is wrong");
  check(&MachineOptions::max_ioeventfds, "-1", "--max-ioeventfds: '-1' is wrong");
  check(&MachineOptions::reserve_ioeventfds, "x", "--reserve-ioeventfds: 'x' is wrong");
  check(&MachineOptions::vcpu_affinity, "1=0", "--vcpu-affinity: '1' is wrong");
  check(&MachineOptions::vcpu_affinity, "0=", "--vcpu-affinity: vCPU 0 needs CPUs");
  check(&MachineOptions::vcpu_affinity, "0=9999", "--vcpu-affinity: ");
  for (const char* size : {"1M", "2T", "lots", "16777217"}) {
    options_.memory.set({"size", size});
    EXPECT_THAT(fault(), HasSubstr("--memory: size=" + std::string(size))) << size;
  }
  options_.memory = *PropertyList::parse("17M,hugepages", "size");
  EXPECT_THAT(fault(), HasSubstr("a multiple of 2M"));
  options_.memory = *PropertyList::parse("64M,hugepages,shared=off", "size");
  EXPECT_THAT(fault(), HasSubstr("--memory: shared=off"));
}

TEST_F(MachineOptionsTest, WhatAdaptiveLooksAtIsTheDevicesElseTheMachines) {
  const auto disks = [&] {
    options_.disks = {*PropertyList::parse("null=1M,notify=adaptive"),
                      *PropertyList::parse("null=1M,notify=adaptive,optimize=efficiency"),
                      *PropertyList::parse("null=1M")};
    const auto config = make_machine_config(options_);
    EXPECT_TRUE(config) << config.error().message;
    return std::array{config->disks[0].optimize, config->disks[1].optimize,
                      config->disks[2].optimize};
  };
  EXPECT_EQ(disks(), (std::array<std::optional<Optimize>, 3>{
                         Optimize::kThroughput, Optimize::kEfficiency, Optimize::kThroughput}));
  options_.optimize = "latency";
  EXPECT_EQ(disks(), (std::array<std::optional<Optimize>, 3>{
                         Optimize::kLatency, Optimize::kEfficiency, Optimize::kLatency}));
}

TEST_F(MachineOptionsTest, MemoryIsPrivateUnlessAskedFor) {
  const auto backing = [&](const char* text) {
    options_.memory = *PropertyList::parse(text, "size");
    return make_machine_config(options_)->backing;
  };
  EXPECT_EQ(backing("64M"), MemoryBacking::kPrivate);
  EXPECT_EQ(backing("64M,shared"), MemoryBacking::kShared);
  EXPECT_EQ(backing("64M,shared=off"), MemoryBacking::kPrivate);
  EXPECT_EQ(backing("64M,hugepages"), MemoryBacking::kHugePages);
}

}  // namespace
}  // namespace bellhop
