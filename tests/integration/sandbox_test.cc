// `--seccomp` of real machines. That nothing they need is refused is what every other test of the
// program shows: a refused call ends it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "control/api/api_client.h"
#include "net/passt.h"
#include "sandbox/seccomp_mode.h"
#include "testing/eventually.h"
#include "tests/integration/cli_fixture.h"

namespace bellhop {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Not;

TEST_F(CliTest, AModeOfSeccompThatIsNoneIsRefusedByName) {
  expect_run_refused({"--seccomp", "on"},
                     "--seccomp: 'on' is unknown; it must be one of kill, errno, log, off");
  expect_refused({"serve", "rng", "--socket", folder_.string() + "/s", "--rng", "--seccomp", "no"},
                 "--seccomp: 'no' is unknown");
  const std::string file = (folder_ / "m.toml").string();
  std::ofstream(file) << "kernel = \"" << kernel_ << "\"\nseccomp = \"yes\"\n";
  expect_refused({"run", "--config", file}, "m.toml:2: seccomp: 'yes' is unknown");
}

#ifdef BELLHOP_BENCH_GUEST

class SandboxMachineTest : public CliMachineTest {
 protected:
  void SetUp() override {
    CliMachineTest::SetUp();
    if (!kSeccompSupported) GTEST_SKIP() << "a sanitizer makes calls of its own";
  }
  void TearDown() override {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    (void)finish(pid_);
  }
  /// Every kind of device that needs nothing outside. `mode` is that of --seccomp; none says
  /// nothing.
  void run(const std::string& mode, const std::string& cmdline,
           const std::vector<std::string>& options = {}) {
    std::vector<std::string> words = {"run",
                                      "--kernel",
                                      BELLHOP_BENCH_GUEST,
                                      "--memory",
                                      "64M",
                                      "--cpus",
                                      "2",
                                      "--cmdline",
                                      cmdline,
                                      "--api-socket",
                                      socket_,
                                      "--rng",
                                      "--balloon",
                                      "size=1M",
                                      "--console",
                                      "socket=" + (folder_ / "c.sock").string(),
                                      "--vsock",
                                      "cid=3,uds=" + (folder_ / "v.sock").string(),
                                      "--event-monitor",
                                      "path=" + (folder_ / "events").string()};
    if (!mode.empty()) words.insert(words.end(), {"--seccomp", mode});
    words.insert(words.end(), options.begin(), options.end());
    pid_ = start(words);
    ASSERT_TRUE(testing::eventually([&] { return ask("GET", "vmm.ping") == 200; }))
        << contents(folder_ / "err");
  }
  unsigned ask(std::string_view method, std::string_view name, std::string_view body = {}) {
    const auto response = control::ask_api(socket_, method, name, body, testing::kPatience);
    return response ? response->status : 0;
  }
  /// Of each thread of the program, by its name, the field `Seccomp`: 0 is none, 2 a filter.
  [[nodiscard]] std::multimap<std::string, std::string> filters() const {
    std::multimap<std::string, std::string> found;
    const std::filesystem::path tasks("/proc/" + std::to_string(pid_) + "/task");
    for (const auto& task : std::filesystem::directory_iterator(tasks)) {
      std::string name;
      std::ifstream status(task.path() / "status");
      for (std::string line; std::getline(status, line);) {
        const std::string value = line.substr(line.find_last_of(" \t") + 1);
        if (line.starts_with("Name:")) name = value;
        if (line.starts_with("Seccomp:")) found.emplace(name, value);
      }
    }
    // The kernel's own, for io_uring.
    std::erase_if(found, [](const auto& one) { return one.first.starts_with("iou-"); });
    return found;
  }

  std::string socket_ = (folder_ / "api.sock").string();
  pid_t pid_ = 0;
};

TEST_F(SandboxMachineTest, EveryThreadHasAFilterUnlessOtherwiseIsSaid) {
  run("", "workload=idle seconds=1000");
  ASSERT_TRUE(testing::eventually([&] {
    const auto all = filters();
    return std::ranges::all_of(all, [](const auto& one) { return one.second == "2"; });
  }));
  EXPECT_THAT(filters(), Contains(Key("vcpu1")));
  EXPECT_THAT(filters(), Contains(Key("io0")));
  EXPECT_EQ(ask("PUT", "vmm.shutdown"), 204U);
  const Outcome outcome = finish(pid_);
  pid_ = 0;
  EXPECT_EQ(outcome.status, 0) << outcome.err;
}

// The main thread alone has none: it makes the next machine.
TEST_F(SandboxMachineTest, ThreadsOfAMachineMadeLaterHaveTheirs) {
  pid_ = start({"run", "--api-socket", socket_});
  ASSERT_TRUE(testing::eventually([&] { return ask("GET", "vmm.ping") == 200; }));
  const std::string machine =
      fmt::format(R"({{"payload": {{"kernel": "{}", "cmdline": "workload=idle seconds=1000"}}, )"
                  R"("rng": {{"src": "/dev/urandom"}}, "serial": {{"mode": "Null"}}}})",
                  BELLHOP_BENCH_GUEST);
  ASSERT_EQ(ask("PUT", "vm.create", machine), 204U) << contents(folder_ / "err");
  ASSERT_EQ(ask("PUT", "vm.boot"), 204U);
  ASSERT_TRUE(testing::eventually([&] {
    auto all = filters();
    const auto unconfined = std::erase_if(all, [](const auto& one) { return one.second == "0"; });
    return unconfined == 1 && all.contains("vcpu0");
  }));
  EXPECT_EQ(ask("PUT", "vmm.shutdown"), 204U);
  EXPECT_EQ(finish(std::exchange(pid_, 0)).status, 0);
}

TEST_F(SandboxMachineTest, OffLeavesAllAsTheyAre) {
  run("off", "workload=idle seconds=1000");
  for (const auto& [name, filter] : filters()) EXPECT_EQ(filter, "0") << name;
  EXPECT_EQ(ask("PUT", "vmm.shutdown"), 204U);
  const Outcome outcome = finish(pid_);
  pid_ = 0;
  EXPECT_EQ(outcome.status, 0) << outcome.err;
}

/// How the disk that the guest works on is served.
class SandboxDiskTest : public SandboxMachineTest,
                        public ::testing::WithParamInterface<const char*> {};

INSTANTIATE_TEST_SUITE_P(
    Options, SandboxDiskTest,
    ::testing::Values("aio=io_uring", "aio=threads", "aio=native,cache=none", "notify=sync",
                      "notify=sync,aio=threads", "notify=adaptive", "notify=poll", "iothread=e",
                      "coalesce=100us", "packed=on,in-order=on,queue-reset=on",
                      "notification-data=on", "null=1G,latency=100us",
                      "null=1G,latency=100us,notify=sync"),
    [](const auto& options) {
      std::string name = options.param;
      std::ranges::replace_if(
          name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, 'X');
      return name;
    });

TEST_P(SandboxDiskTest, AWorkingMachineMakesNoCallThatIsNotInTheTable) {
  const std::string keys = GetParam();
  const bool file = !keys.starts_with("null=");
  // Beside the program's folder, since /tmp may be in memory, where no engine is used.
  const std::string disk =
      (std::filesystem::path(BELLHOP_EXECUTABLE).parent_path() / "sandbox-test.img").string();
  std::ofstream(disk).close();
  std::filesystem::resize_file(disk, 16 << 20);
  run("log", std::string("workload=randwrite threads=4 seconds=1") + (file ? "" : " check=off"),
      {"--iothread", "name=io0", "--iothread", "name=e,loop=epoll", "--disk",
       (file ? disk + "," + keys : keys) + ",id=d", "--on-reset", "restart"});
  EXPECT_EQ(ask("PUT", "vm.pause"), 204U);
  EXPECT_EQ(ask("GET", "vm.info"), 200U);
  EXPECT_EQ(ask("PUT", "vm.resume"), 204U);
  if (file) {
    EXPECT_EQ(ask("PUT", "vm.resize-disk", R"({"id": "d", "desired_size": 33554432})"), 204U);
  }
  EXPECT_EQ(ask("PUT", "vm.resize", R"({"desired_balloon": 4194304})"), 204U);
  EXPECT_EQ(ask("PUT", "vm.set-rates", R"({"id": "d", "options": "iops=100000"})"), 204U);
  for (const char* const mode : {"sync", "adaptive", "ioeventfd", "sync", "poll"}) {
    EXPECT_EQ(ask("PUT", "vm.set-notify", fmt::format(R"({{"id": "d", "mode": "{}"}})", mode)),
              204U);
  }
  EXPECT_EQ(ask("PUT", "vm.pin", R"({"thread": "vcpu0", "cpus": "0"})"), 204U);
  EXPECT_EQ(ask("PUT", "vm.pin", R"({"thread": "io0", "cpus": "0"})"), 204U);
  EXPECT_EQ(ask("PUT", "vm.reboot"), 204U);
  EXPECT_EQ(ask("GET", "vm.counters"), 200U);
  const Outcome outcome = finish(pid_);
  pid_ = 0;
  std::filesystem::remove(disk);
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.err, Not(HasSubstr("seccomp")));
}

// It was to be on its thread's ring, and is notified by vCPU exits.
TEST_F(SandboxMachineTest, ADiskForWhichNoIoeventfdIsLeftWorks) {
  const std::string disk =
      (std::filesystem::path(BELLHOP_EXECUTABLE).parent_path() / "sandbox-sync.img").string();
  std::ofstream(disk).close();
  std::filesystem::resize_file(disk, 16 << 20);
  run("kill", "workload=randwrite threads=4 seconds=1",
      {"--max-ioeventfds", "1", "--reserve-ioeventfds", "1", "--disk", disk + ",aio=io_uring"});
  const Outcome outcome = finish(std::exchange(pid_, 0));
  std::filesystem::remove(disk);
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("is notified synchronously"));
  EXPECT_THAT(outcome.err, HasSubstr("this disk does with threads"));
}

/// In the mode `log` a thread that starts while a guest runs has its own filter alone; in others,
/// that of the starter as well.
class SandboxAddTest : public SandboxMachineTest,
                       public ::testing::WithParamInterface<const char*> {};

INSTANTIATE_TEST_SUITE_P(Modes, SandboxAddTest, ::testing::Values("log", "kill"),
                         [](const auto& mode) { return std::string(mode.param); });

TEST_P(SandboxAddTest, DevicesMayBeAdded) {
  const std::string disk =
      (std::filesystem::path(BELLHOP_EXECUTABLE).parent_path() / "sandbox-added.img").string();
  std::ofstream(disk).close();
  std::filesystem::resize_file(disk, 16 << 20);
  run(GetParam(), "workload=idle seconds=1000",
      {"--iothread", "name=io0", "--iothread", "name=e,loop=epoll"});
  std::vector<std::pair<std::string, std::string>> devices = {{"rng", "notify=adaptive"},
                                                              {"disk", "null=1M,latency=1ms"}};
  for (const char* const way : {"aio=io_uring", "notify=adaptive", "notify=poll", "aio=threads",
                                "aio=native,cache=none", "notify=sync", "notify=sync,aio=threads",
                                "notify=sync,aio=native,cache=none", "iothread=e", "queues=4"}) {
    devices.emplace_back("disk", "path=" + disk + "," + way);
  }
  if (::access("/dev/net/tun", W_OK) == 0) devices.emplace_back("net", "tap=sandboxed");
  // A program, started by another process. It does not run everywhere.
  if (start_passt(PasstSource()))
    devices.emplace_back("net", "user,hostfwd=tcp:127.0.0.1:48222-:22");
  // Without power: what was added can be taken away at once, and its files are free again.
  EXPECT_EQ(ask("PUT", "vm.shutdown"), 204U);
  for (const char* const id : {"console0", "vsock0", "balloon0"}) {
    EXPECT_EQ(ask("PUT", "vm.remove-device", fmt::format(R"({{"id": "{}"}})", id)), 204U);
  }
  devices.emplace_back("console", "file=" + (folder_ / "c").string());
  devices.emplace_back("console", "socket=" + (folder_ / "c2.sock").string());
  devices.emplace_back("console", "pty");
  devices.emplace_back("vsock", "cid=4,uds=" + (folder_ / "v2.sock").string());
  devices.emplace_back("balloon", "size=1M");
  for (const auto& [kind, options] : devices) {
    EXPECT_EQ(ask("PUT", "vm.add",
                  fmt::format(R"({{"device": "{}", "options": "id=late,{}"}})", kind, options)),
              200U)
        << kind << " " << options << contents(folder_ / "err");
    EXPECT_EQ(ask("PUT", "vm.remove-device", R"({"id": "late"})"), 204U);
  }
  EXPECT_EQ(ask("PUT", "vm.boot"), 204U);
  EXPECT_EQ(ask("PUT", "vmm.shutdown"), 204U);
  const Outcome outcome = finish(pid_);
  pid_ = 0;
  std::filesystem::remove(disk);
  EXPECT_EQ(outcome.status, 0) << outcome.out << outcome.err;
  EXPECT_THAT(outcome.err, Not(HasSubstr("seccomp:")));
}

#endif

}  // namespace
}  // namespace bellhop
