// `bellhop jail` and `--landlock` of real machines.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "control/api/api_client.h"
#include "sandbox/landlock.h"
#include "sandbox/seccomp_mode.h"
#include "testing/eventually.h"
#include "tests/integration/cli_fixture.h"

namespace bellhop {
namespace {

using ::testing::HasSubstr;

TEST_F(CliTest, WhatIsWrongWithAJailIsToldByName) {
  expect_refused({"jail", "--strict"}, "jail: a command is missing");
  expect_refused({"jail", "--", "bench"}, "bench");
  expect_refused({"jail", "--id", "a/b", "--", "run"}, "--id: 'a/b' is wrong");
  expect_refused({"jail", "--uid", "-1", "--", "run"}, "--uid: '-1' is wrong");
  expect_refused({"jail", "--netns", "some", "--", "run"}, "--netns: 'some' is unknown");
  expect_refused({"jail", "--cgroup", "memory.max", "--", "run"}, "must be KEY=VALUE");
  expect_refused({"jail", "--resource-limit", "files=1", "--", "run"}, "'files' is unknown");
  // The command's own are told outside.
  expect_refused({"jail", "--", "run", "--kernel", "/nothing"}, "--kernel: ");
  expect_refused({"jail", "--", "run", "--kernal", "/nothing"}, "--kernal");
}

TEST_F(CliTest, WhatIsWrongWithLandlockIsToldByName) {
  expect_run_refused({"--landlock", "yes"}, "--landlock: 'yes' is unknown");
  expect_run_refused({"--landlock", "on", "--landlock-rules", "access=r"}, "path=PATH is missing");
  expect_run_refused({"--landlock", "on", "--landlock-rules", "path=/"}, "access is missing");
  expect_run_refused({"--landlock", "on", "--landlock-rules", "path=/,access=x"},
                     "access=x is wrong");
  expect_run_refused({"--landlock", "on", "--landlock-rules", "path=/no,access=r"}, "path=/no");
  expect_run_refused({"--landlock-rules", "path=/,access=r"}, "goes with --landlock on");
}

#ifdef BELLHOP_BENCH_GUEST

class JailedMachineTest : public CliMachineTest {
 protected:
  void TearDown() override {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      (void)finish(pid_);
    }
  }
  /// Starts a machine by `how`, and waits until its API answers. False: the host gives no jail.
  bool run(const std::vector<std::string>& how, const std::vector<std::string>& options) {
    std::filesystem::create_directories(folder_ / "s");
    std::vector<std::string> words = how;
    words.insert(words.end(), {"run", "--kernel", BELLHOP_BENCH_GUEST, "--memory", "64M",
                               "--api-socket", socket_, "--disk", image_});
    words.insert(words.end(), options.begin(), options.end());
    pid_ = start(words);
    const bool up = testing::eventually([&] {
      return ask("GET", "vmm.ping") == 200 ||
             contents(folder_ / "err").find("--strict: without") != std::string::npos;
    });
    EXPECT_TRUE(up) << contents(folder_ / "err");
    return contents(folder_ / "err").find("--strict: without") == std::string::npos;
  }
  unsigned ask(std::string_view method, std::string_view name, std::string_view body = {}) {
    const auto response = control::ask_api(socket_, method, name, body, testing::kPatience);
    return response ? response->status : 0;
  }
  Outcome end() {
    Outcome outcome = finish(pid_);
    pid_ = 0;
    return outcome;
  }

  const std::vector<std::string> filters_ = kSeccompSupported
                                                ? std::vector<std::string>{"--seccomp", "kill"}
                                                : std::vector<std::string>();
  std::string socket_ = (folder_ / "s/api.sock").string();
  pid_t pid_ = 0;
};

TEST_F(JailedMachineTest, WorksAndLeavesNothing) {
  std::vector<std::string> options = filters_;
  options.insert(options.end(), {"--cmdline", "workload=randwrite threads=4 seconds=1", "--stats",
                                 (folder_ / "stats.json").string()});
  if (sandbox::landlock_version().abi > 0) options.insert(options.end(), {"--landlock", "on"});
  // As root it stays root here, which --strict would not have: the image is root's.
  std::vector<std::string> jail = {"jail"};
  if (::geteuid() != 0) jail.emplace_back("--strict");
  jail.emplace_back("--");
  if (!run(jail, options)) {
    const Outcome outcome = end();
    GTEST_SKIP() << outcome.err;
  }
  EXPECT_THAT(bellhop({"ps"}).out, HasSubstr(socket_));
  const Outcome outcome = end();
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(contents(folder_ / "stats.json"), HasSubstr("userspace_exits"));
  EXPECT_FALSE(std::filesystem::exists(socket_));
}

TEST_F(JailedMachineTest, ASignalEndsIt) {
  if (!run({"jail", "--"}, {"--cmdline", "workload=idle seconds=1000", "--stop-timeout", "0"})) {
    GTEST_SKIP() << end().err;
  }
  ::kill(pid_, SIGTERM);
  const Outcome outcome = end();
  EXPECT_EQ(outcome.status, 128 + SIGTERM) << outcome.err;
  EXPECT_FALSE(std::filesystem::exists(socket_));
}

// Pseudo terminals are opened inside, and are there outside.
TEST_F(JailedMachineTest, ATerminalOfAJailIsThereOutside) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root may make their device";
  std::vector<std::string> options = filters_;
  options.insert(options.end(), {"--cmdline", "workload=idle seconds=1000", "--serial", "pty",
                                 "--console", "pty"});
  if (sandbox::landlock_version().abi > 0) options.insert(options.end(), {"--landlock", "on"});
  if (!run({"jail", "--"}, options)) GTEST_SKIP() << end().err;
  const auto info = control::ask_api(socket_, "GET", "vm.info", {}, testing::kPatience);
  ASSERT_TRUE(info);
  const auto json = nlohmann::json::parse(info->body)["config"];
  EXPECT_THAT(json["console"]["file"].get<std::string>(), HasSubstr("/dev/pts/"));
  const auto place = json["serial"]["file"].get<std::string>();
  const UniqueFd user(::open(place.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  ASSERT_TRUE(user.valid()) << place;
  ASSERT_EQ(::write(user.get(), "keys", 4), 4);
  std::string seen;
  EXPECT_TRUE(testing::eventually([&] {
    std::array<char, 4096> piece{};
    const ssize_t got = ::read(user.get(), piece.data(), piece.size());
    if (got > 0) seen.append(piece.data(), static_cast<std::size_t>(got));
    return seen.find("\"event\":\"begin\"") != std::string::npos;
  })) << seen;
  EXPECT_EQ(ask("PUT", "vmm.shutdown"), 204U);
  const Outcome outcome = end();
  EXPECT_EQ(outcome.status, 0) << outcome.err;
}

TEST_F(JailedMachineTest, UnderLandlockADeviceHasTheFilesThatRulesName) {
  if (sandbox::landlock_version().abi == 0) GTEST_SKIP() << "this kernel has no Landlock";
  std::filesystem::create_directories(folder_ / "given");
  std::filesystem::copy_file(image_, folder_ / "given/added.img");
  std::filesystem::copy_file(image_, folder_ / "other.img");
  std::vector<std::string> options = filters_;
  options.insert(options.end(),
                 {"--cmdline", "workload=idle seconds=1000", "--landlock", "on", "--landlock-rules",
                  "path=" + (folder_ / "given").string() + ",access=rw"});
  ASSERT_TRUE(run({}, options));
  const auto add = [&](const std::string& path) {
    return ask("PUT", "vm.add-disk", fmt::format(R"({{"path": "{}"}})", (folder_ / path).string()));
  };
  EXPECT_NE(add("other.img"), 200U);
  EXPECT_EQ(add("given/added.img"), 200U);
  EXPECT_EQ(ask("PUT", "vm.reboot"), 204U);  // the kernel is read again
  EXPECT_EQ(ask("PUT", "vmm.shutdown"), 204U);
  const Outcome outcome = end();
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_FALSE(std::filesystem::exists(socket_));
}

// Such a machine may signal nobody (Linux 6.12), and this passt does not care for its socket.
TEST_F(JailedMachineTest, UnderLandlockAPasstThatWasAddedGoesWithItsNic) {
  if (sandbox::landlock_version().abi == 0) GTEST_SKIP() << "this kernel has no Landlock";
  const auto program = folder_ / "bin/passt";
  const std::string pid_file = (folder_ / "passt.pid").string();
  std::filesystem::create_directories(program.parent_path());
  std::ofstream(program) << "#!/bin/sh\ntrap '' TERM HUP; echo $$ > " << pid_file
                         << "; printf xxxx >&3; exec sleep 1000\n";
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  const std::string path = std::getenv("PATH");
  ::setenv("PATH", (program.parent_path().string() + ":" + path).c_str(), 1);
  std::vector<std::string> options = filters_;
  options.insert(options.end(), {"--cmdline", "workload=idle seconds=1000", "--landlock", "on"});
  const bool up = run({}, options);
  ::setenv("PATH", path.c_str(), 1);
  ASSERT_TRUE(up);
  const auto passt = [&] {
    pid_t pid = 0;
    std::ifstream(pid_file) >> pid;
    return pid;
  };
  const auto is_there = [&] { return ::kill(passt(), 0) == 0; };
  const char* const nic = R"({"device": "net", "options": "id=late,user"})";
  EXPECT_EQ(ask("PUT", "vm.shutdown"), 204U);  // what was added can be taken away at once
  ASSERT_EQ(ask("PUT", "vm.add", nic), 200U) << contents(folder_ / "err");
  ASSERT_GT(passt(), 0);
  EXPECT_TRUE(is_there());
  EXPECT_EQ(ask("PUT", "vm.remove-device", R"({"id": "late"})"), 204U);
  EXPECT_FALSE(is_there());
  ASSERT_EQ(ask("PUT", "vm.add", nic), 200U) << contents(folder_ / "err");
  EXPECT_TRUE(is_there());
  ::kill(pid_, SIGKILL);
  (void)end();
  EXPECT_TRUE(testing::eventually([&] { return !is_there(); }));
}

#endif

}  // namespace
}  // namespace bellhop
