// `bellhop bench study` as a whole: machines on a null medium and on an image, the load of `busy`,
// and what of an interrupted sweep is there to go on with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

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

#ifdef BELLHOP_BENCH_GUEST

constexpr seconds kStudyPatience{60};

class BenchStudyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::access("/dev/kvm", R_OK | W_OK) != 0) GTEST_SKIP() << "no access to /dev/kvm";
    std::filesystem::create_directories(folder_);
  }
  ~BenchStudyTest() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string file(const char* name) const { return (folder_ / name).string(); }
  static std::string contents(const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }
  static std::vector<std::string> study(const std::vector<std::string>& more) {
    std::vector<std::string> command = {
        BELLHOP_EXECUTABLE, "bench", "study",    "--guest", BELLHOP_BENCH_GUEST,
        "--vcpus",          "1",     "--warmup", "0.05"};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  }
  /// The processes of that name that `parent` has started.
  static std::vector<pid_t> busy_children_of(pid_t parent) {
    std::vector<pid_t> found;
    std::error_code error;
    const auto tasks = std::filesystem::path("/proc") / std::to_string(parent) / "task";
    for (const auto& task : std::filesystem::directory_iterator(tasks, error)) {
      std::ifstream list(task.path() / "children");
      for (pid_t child = 0; list >> child;) {
        if (contents("/proc/" + std::to_string(child) + "/comm") == "bellhop-busy\n") {
          found.push_back(child);
        }
      }
    }
    return found;
  }

  std::filesystem::path folder_ =
      std::filesystem::path(::testing::TempDir()) / ("bellhop-study-" + std::to_string(::getpid()));
};

TEST_F(BenchStudyTest, MeasuresItsGridAndSaysWhatItFound) {
  auto child = Child::spawn(study({"--seconds",    "0.1",
                                   "--repeat",     "1",
                                   "--threads",    "8",
                                   "--placement",  "free,busy",
                                   "--medium",     "null," + folder_.string(),
                                   "--latency",    "1ms",
                                   "--image-size", "16M",
                                   "--aio",        "threads",
                                   "--cache",      "writeback",
                                   "--optimize",   "throughput",
                                   "--json",       file("s.json"),
                                   "--html",       file("s.html"),
                                   "--csv",        file("s.csv")}),
                            {});
  ASSERT_TRUE(child.has_value());
  const auto deadline = Child::Clock::now() + kStudyPatience;
  std::string out;
  while (true) {
    const auto line = child->read_line(deadline, EventFd{});
    if (!line || !*line) break;
    out += **line + "\n";
  }
  const int status = child->wait(deadline);
  ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << child->last_complaint();
  const auto json = nlohmann::json::parse(contents(file("s.json")), nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_TRUE(json["not_run"].empty()) << json["not_run"];
  ASSERT_EQ(json["runs"].size(), 2U * 2 * 4) << "media, placements, ways";
  for (const auto& run : json["runs"]) {
    const bool null = !run["medium_latency_us"].is_null();
    EXPECT_EQ(run["verified"].get<bool>(), !null) << run;
    EXPECT_GT(run["operations"].get<double>(), 0) << run;
    if (!null) continue;
    EXPECT_EQ(run["medium_latency_us"], 1000.0);
    // Within what the guest's histogram tells apart.
    EXPECT_GE(run["latency_us"]["p50"].get<double>(), 950) << "never sooner: " << run;
  }
  EXPECT_EQ(json["study"]["adaptive_against_best"].size(), 2U * 2);
  ASSERT_EQ(json["findings"].size(), 5U) << "one is about single repeats";
  EXPECT_THAT(out, HasSubstr("Each cell was measured once"));
  EXPECT_THAT(out, HasSubstr("Adaptive over the whole"));
  EXPECT_THAT(contents(file("s.html")), HasSubstr(json["findings"][1].get<std::string>()));
  EXPECT_THAT(contents(file("s.csv")), HasSubstr("medium_latency_us"));
}

TEST_F(BenchStudyTest, AnInterruptEndsTheLoadAndResumeGoesOn) {
  const std::vector<std::string> grid = {"--repeat",    "1",    "--threads", "8",
                                         "--placement", "busy", "--medium",  "null",
                                         "--latency",   "50us", "--notify",  "sync,ioeventfd",
                                         "--seed",      "7",    "--seconds", "1"};
  auto words = grid;
  words.insert(words.end(), {"--json", file("r.json")});
  auto child = Child::spawn(study(words), {});
  ASSERT_TRUE(child.has_value());
  std::vector<pid_t> busy;
  ASSERT_TRUE(testing::eventually([&] {
    busy = busy_children_of(child->pid());
    return busy.size() == 2;
  }));
  // The first cell is done when its load has ended; the second is being measured.
  EXPECT_TRUE(testing::eventually([&] { return ::kill(busy[0], 0) != 0; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const auto second = busy_children_of(child->pid());
  ::kill(child->pid(), SIGINT);
  const int status = child->wait(Child::Clock::now() + kStudyPatience);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGINT);
  for (const pid_t pid : second) EXPECT_NE(::kill(pid, 0), 0) << "the load outlives the command";
  auto json = nlohmann::json::parse(contents(file("r.json")), nullptr, false);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["complete"], false);
  ASSERT_EQ(json["runs"].size(), 1U);

  words = grid;
  words.insert(words.end(), {"--resume", file("r.json")});
  auto again = Child::spawn(study(words), {});
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->wait(Child::Clock::now() + kStudyPatience), 0) << again->last_complaint();
  json = nlohmann::json::parse(contents(file("r.json")), nullptr, false);
  EXPECT_EQ(json["complete"], true);
  EXPECT_EQ(json["runs"].size(), 2U);
}

#endif

}  // namespace
}  // namespace bellhop
