// The program without a machine, which clients make, boot and delete.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "sandbox/seccomp_mode.h"
#include "tests/integration/control_fixture.h"

#ifdef BELLHOP_BENCH_GUEST

namespace bellhop {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

/// A program that begins without a machine.
class EmptyMachineTest : public ControlTest {
 protected:
  void run_empty(const std::vector<std::string>& options = {}) {
    std::vector<std::string> words = {"run", "--api-socket", socket_};
    words.insert(words.end(), options.begin(), options.end());
    pid_ = start(words);
    ASSERT_TRUE(testing::eventually([&] { return ask("GET", "vmm.ping").status == 200; }));
  }
  [[nodiscard]] std::string machine(const std::string& cmdline) const {
    return Json{{"payload", {{"kernel", BELLHOP_BENCH_GUEST}, {"cmdline", cmdline}}},
                {"cpus", {{"boot_vcpus", 1}, {"max_vcpus", 1}}},
                {"memory", {{"size", 64 << 20}}},
                {"disks", {{{"path", image_}}}},
                {"rng", {{"src", "/dev/urandom"}}},
                {"serial", {{"mode", "File"}, {"file", serial_}}},
                {"console", {{"mode", "Off"}}}}
        .dump();
  }

  std::string serial_ = (folder_ / "serial").string();
};

// In the order in which Kata's drivers ask.
TEST_F(EmptyMachineTest, MachinesAreMadeBootedAndDeleted) {
  run_empty({"--event-monitor", "path=" + (folder_ / "events").string()});
  EXPECT_EQ(ask("GET", "vm.info").status, 404U);
  EXPECT_EQ(put("vm.boot"), 404U);
  EXPECT_EQ(put("vm.create", R"({"payload": {"kernel": "/no/such"}})"), 400U);
  const std::size_t fds = settled("fd");
  const std::size_t threads = settled("task");
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(put("vm.create", machine("workload=randread threads=4 seconds=1000")), 204U);
    EXPECT_EQ(put("vm.create", machine("")), 409U);
    EXPECT_EQ(info()["state"], "Created");
    EXPECT_EQ(put("vm.pause"), 409U);
    ASSERT_EQ(put("vm.boot"), 204U);
    EXPECT_EQ(info()["state"], "Running");
    EXPECT_TRUE(testing::eventually(
        [&] { return contents(serial_).find("\"event\":\"begin\"") != std::string::npos; }));
    EXPECT_EQ(put("vm.add", R"({"device": "rng", "options": "id=late"})"), 200U);
    EXPECT_EQ(put("vm.pause"), 204U);
    EXPECT_EQ(put("vm.resume"), 204U);
    EXPECT_EQ(put("vm.reboot"), 204U);
    if (round == 1) {
      EXPECT_EQ(put("vm.shutdown"), 204U);
    }
    ASSERT_EQ(put("vm.delete"), 204U);
    EXPECT_EQ(settled("fd"), fds) << "nothing is left of it";
    EXPECT_EQ(settled("task"), threads);
  }
  EXPECT_EQ(put("vmm.shutdown"), 204U);
  EXPECT_EQ(end().status, 0);
  EXPECT_FALSE(std::filesystem::exists(socket_));
}

// A FIFO that is full has a reader, which reads nothing.
TEST_F(EmptyMachineTest, WhatNobodyReadsOfTheSerialPortKeepsNoCommandWaiting) {
  ASSERT_EQ(::mkfifo(serial_.c_str(), 0600), 0);
  const UniqueFd both(::open(serial_.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC));
  ASSERT_TRUE(both.valid());
  const std::vector<char> zeros(65536);
  while (::write(both.get(), zeros.data(), zeros.size()) > 0) {
  }
  run_empty();
  for (int round = 0; round < 2; ++round) {
    ASSERT_EQ(put("vm.create", machine("workload=idle seconds=1000")), 204U);
    ASSERT_EQ(put("vm.boot"), 204U);
    EXPECT_EQ(put("vm.delete"), 204U);
  }
  ASSERT_EQ(put("vm.create", machine("workload=idle seconds=1000")), 204U);
  ASSERT_EQ(put("vm.boot"), 204U);
  ::kill(pid_, SIGTERM);
  EXPECT_EQ(end().status, 128 + SIGTERM);
}

// As libvirt asks for a <serial>. With the filters of a program that has one machine, and without.
TEST_F(EmptyMachineTest, ItsSerialPortIsAtATerminal) {
  for (const bool filtered : {false, true}) {
    if (filtered && !kSeccompSupported) continue;
    run_empty(filtered ? std::vector<std::string>{"--seccomp", "kill"}
                       : std::vector<std::string>());
    Json asked = Json::parse(machine("workload=idle seconds=1000"));
    asked["serial"] = {{"mode", "Pty"}};
    for (int round = 0; round < (filtered ? 1 : 3); ++round) {
      ASSERT_EQ(put("vm.create", asked.dump()), 204U);
      EXPECT_EQ(info()["config"]["serial"]["mode"], "Pty") << "before it runs";
      ASSERT_EQ(put("vm.boot"), 204U);
      AtTerminal user(info()["config"]["serial"]["file"]);
      EXPECT_TRUE(user.reads("\"event\":\"begin\""));
      user.type("keys\r");
      EXPECT_EQ(put("vm.delete"), 204U);
    }
    EXPECT_EQ(put("vmm.shutdown"), 204U);
    const Outcome outcome = end();
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_THAT(outcome.err, ::testing::Not(HasSubstr("lost")));
  }
}

TEST_F(EmptyMachineTest, AFilteredOneHasOneMachine) {
  if (!kSeccompSupported) GTEST_SKIP() << "a sanitizer makes calls of its own";
  run_empty({"--seccomp", "log"});
  ASSERT_EQ(put("vm.create", machine("workload=idle seconds=1000")), 204U);
  ASSERT_EQ(put("vm.boot"), 204U);
  EXPECT_EQ(put("vm.add", R"({"device": "disk", "options": "null=1M"})"), 200U);
  EXPECT_EQ(put("vm.delete"), 204U);
  EXPECT_EQ(put("vm.create", machine("")), 409U);
  EXPECT_EQ(put("vmm.shutdown"), 204U);
  const Outcome outcome = end();
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.err, ::testing::Not(HasSubstr("seccomp:")));
}

TEST_F(EmptyMachineTest, ASignalEndsItWithAMachineAndWithout) {
  for (const bool with : {false, true}) {
    run_empty();
    if (with) {
      ASSERT_EQ(put("vm.create", machine("workload=idle seconds=1000")), 204U);
      ASSERT_EQ(put("vm.boot"), 204U);
    }
    ::kill(pid_, SIGTERM);
    EXPECT_EQ(end().status, 128 + SIGTERM) << with;
  }
}

TEST_F(EmptyMachineTest, TheGuestsEndIsTheProgramsEnd) {
  run_empty();
  ASSERT_EQ(put("vm.create", machine("workload=randwrite threads=1 seconds=1")), 204U);
  ASSERT_EQ(put("vm.boot"), 204U);
  EXPECT_EQ(end().status, 0);
  EXPECT_THAT(contents(serial_), HasSubstr("\"event\":\"result\""));
}

TEST_F(EmptyMachineTest, ClientsOfCloudHypervisorStartItByThatName) {
  const std::string name = (folder_ / "cloud-hypervisor").string();
  std::filesystem::create_symlink(BELLHOP_EXECUTABLE, name);
  const std::string shown = (folder_ / "told").string();
  const std::string line = name + " --version > " + shown;
  EXPECT_EQ(std::system(line.c_str()), 0);  // NOLINT(cert-env33-c,concurrency-mt-unsafe)
  EXPECT_THAT(contents(shown), ::testing::MatchesRegex("cloud-hypervisor v[0-9]+.[0-9]+.[0-9]+\n"));
  const std::string log = (folder_ / "log").string();
  const std::string started = name + " --api-socket " + socket_ +
                              " -v --seccomp false --log-file " + log + " > /dev/null 2>&1 &";
  EXPECT_EQ(std::system(started.c_str()), 0);  // NOLINT(cert-env33-c,concurrency-mt-unsafe)
  ASSERT_TRUE(testing::eventually([&] { return ask("GET", "vmm.ping").status == 200; }));
  EXPECT_EQ(put("vm.resize", "{}"), 400U);
  EXPECT_EQ(put("vm.create", R"({"payload": {"kernel": "/no/such"}, "sgx_epc": null})"), 400U);
  EXPECT_EQ(put("vmm.shutdown"), 204U);
  EXPECT_TRUE(testing::eventually([&] { return !std::filesystem::exists(socket_); }));
  EXPECT_THAT(contents(log), HasSubstr("sgx_epc"));
}

}  // namespace
}  // namespace bellhop

#endif
