// `bellhop bench net` as a whole: machines with a NIC, the host's end of their link, figures; and
// that nothing of it is left when it is interrupted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "bench/harness/child.h"
#include "testing/eventually.h"

namespace bellhop {
namespace {

using bench::Child;
using std::chrono::seconds;
using ::testing::HasSubstr;

constexpr seconds kPatience{60};

#ifdef BELLHOP_BENCH_GUEST

/// A word that only this test's guests have on their command line.
std::string mark() { return "test=" + std::to_string(::getpid()); }

std::vector<std::string> bench_net(const std::vector<std::string>& more) {
  std::vector<std::string> command = {BELLHOP_EXECUTABLE,
                                      "bench",
                                      "net",
                                      "--guest",
                                      BELLHOP_BENCH_GUEST,
                                      "--placement",
                                      "free",
                                      "--warmup",
                                      "0.05",
                                      "--guest-words",
                                      mark()};
  command.insert(command.end(), more.begin(), more.end());
  return command;
}

bool anyone_runs(const std::string& word) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ostringstream line;
    line << std::ifstream(entry.path() / "cmdline").rdbuf();
    if (line.str().find(word) != std::string::npos) return true;
  }
  return false;
}

std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> children;
  std::error_code error;
  const auto tasks = std::filesystem::path("/proc") / std::to_string(parent) / "task";
  for (const auto& task : std::filesystem::directory_iterator(tasks, error)) {
    std::ifstream list(task.path() / "children");
    for (pid_t child = 0; list >> child;) children.push_back(child);
  }
  return children;
}

class BenchNetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::access("/dev/kvm", R_OK | W_OK) != 0) GTEST_SKIP() << "no access to /dev/kvm";
    if (::access("/dev/net/tun", R_OK | W_OK) != 0) GTEST_SKIP() << "no access to /dev/net/tun";
  }

  /// Runs it to its end; its JSON.
  static nlohmann::json sweep(const std::vector<std::string>& more) {
    auto command = bench_net(more);
    command.insert(command.end(), {"--json", "-"});
    auto child = Child::spawn(command, {});
    EXPECT_TRUE(child.has_value());
    std::string text;
    const auto deadline = Child::Clock::now() + kPatience;
    while (true) {
      const auto line = child->read_line(deadline, EventFd{});
      if (!line || !*line) break;
      text += **line + "\n";
    }
    child->wait(deadline);
    auto json = nlohmann::json::parse(text, nullptr, false);
    EXPECT_TRUE(json.is_object()) << child->last_complaint();
    return json;
  }

  static bool lacks_rights(const nlohmann::json& json) {
    for (const auto& cell : json["not_run"]) {
      const auto reason = cell["reason"].get<std::string>();
      if (reason.find("cannot make a network namespace") != std::string::npos) return true;
    }
    return false;
  }
};

TEST_F(BenchNetTest, EveryWorkloadGivesVerifiedFigures) {
  const auto json = sweep({"--seconds", "0.1", "--repeat", "1", "--message-bytes", "65536,1024",
                           "--notify", "sync,ioeventfd"});
  ASSERT_TRUE(json.is_object());
  if (lacks_rights(json)) GTEST_SKIP() << "no right to make a network namespace";
  EXPECT_TRUE(json["not_run"].empty()) << json["not_run"];
  ASSERT_EQ(json["runs"].size(), 2U * (2 * 2 + 1 + 2));
  for (const auto& run : json["runs"]) {
    EXPECT_TRUE(run["verified"].get<bool>());
    EXPECT_GT(run["operations"].get<double>(), 0) << run;
    EXPECT_GT(run["host_cpu_s"].get<double>(), 0);
    EXPECT_GT(run["net"]["host_end_cpu_s"].get<double>(), 0);
  }
}

TEST_F(BenchNetTest, AnInterruptLeavesNoProcess) {
  auto child = Child::spawn(bench_net({"--seconds", "100", "--workload", "ping"}), {});
  ASSERT_TRUE(child.has_value());
  EXPECT_TRUE(testing::eventually([&] { return children_of(child->pid()).size() >= 2; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  const auto children = children_of(child->pid());
  EXPECT_EQ(children.size(), 2U);  // the machine, and the host's end
  ::kill(child->pid(), SIGINT);
  const int status = child->wait(Child::Clock::now() + kPatience);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 128 + SIGINT);
  EXPECT_FALSE(anyone_runs(mark()));
  for (const pid_t one : children) EXPECT_NE(::kill(one, 0), 0);
}

TEST_F(BenchNetTest, RefusesWhatItCannotDo) {
  for (const auto& [words, complaint] :
       std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{}, "--guest linux"},
           {{"--message-bytes", "1480"}, "--message-bytes"},
           {{"--framing", "token-ring"}, "--framing"},
           {{"--direction", "up"}, "--direction"}}) {
    auto command = bench_net(words);
    if (words.empty()) std::ranges::replace(command, std::string(BELLHOP_BENCH_GUEST), "linux");
    auto child = Child::spawn(command, {});
    ASSERT_TRUE(child.has_value());
    EXPECT_EQ(WEXITSTATUS(child->wait(Child::Clock::now() + kPatience)), 2);
    EXPECT_THAT(child->last_complaint(), HasSubstr(complaint));
  }
}

#endif

}  // namespace
}  // namespace bellhop
