// The real program in a cgroup that allows few threads: whichever of them it cannot have, it says
// so and ends.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"

#ifdef BELLHOP_BENCH_GUEST

namespace bellhop {
namespace {

namespace fs = std::filesystem;

/// A cgroup of our own that bounds processes and threads.
class PidsCgroup {
 public:
  /// Nothing where this host lets us make none: version 1 has a tree of its own for it, version 2
  /// one for all.
  static std::optional<fs::path> make() {
    for (const char* tree : {"/sys/fs/cgroup/pids", "/sys/fs/cgroup"}) {
      const fs::path folder = fs::path(tree) / fmt::format("bellhop-threads-{}", ::getpid());
      if (::mkdir(folder.c_str(), 0755) != 0) continue;
      if (::access((folder / "pids.max").c_str(), W_OK) == 0) return folder;
      ::rmdir(folder.c_str());
    }
    return std::nullopt;
  }
};

std::string contents(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

class ThreadLimitTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::access("/dev/kvm", R_OK | W_OK) != 0) GTEST_SKIP() << "this host has no /dev/kvm for us";
    cgroup_ = PidsCgroup::make();
    if (!cgroup_) GTEST_SKIP() << "this host lets us make no cgroup with a limit of processes";
    folder_ = fs::path(::testing::TempDir()) / fmt::format("bellhop-threads-{}", ::getpid());
    fs::create_directories(folder_);
    std::ofstream(folder_ / "disk.img").close();
    fs::resize_file(folder_ / "disk.img", 1 << 20);
    int master = -1;
    int slave = -1;
    ASSERT_EQ(::openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
    master_ = UniqueFd(master);
    terminal_ = UniqueFd(slave);
  }
  void TearDown() override {
    if (cgroup_) {
      EXPECT_EQ(::rmdir(cgroup_->c_str()), 0) << "a process is left";
    }
    if (!folder_.empty()) fs::remove_all(folder_);
  }

  pid_t start(unsigned most, const std::vector<std::string>& arguments) {
    std::ofstream(*cgroup_ / "pids.max") << most;
    std::vector<char*> argv = {const_cast<char*>(BELLHOP_EXECUTABLE)};
    for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    const std::string procs = (*cgroup_ / "cgroup.procs").string();
    const std::string out = (folder_ / "out").string();
    const std::string err = (folder_ / "err").string();
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    const int into = ::open(procs.c_str(), O_WRONLY | O_CLOEXEC);
    if (into < 0 || ::write(into, "0", 1) != 1) ::_exit(126);
    ::setsid();
    ::dup2(terminal_.get(), 0);
    ::dup2(::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), 1);
    ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), 2);
    ::execv(argv[0], argv.data());
    ::_exit(126);
  }
  /// Its exit status, or 128 + signal; nothing if it had to be killed.
  static std::optional<int> finish(pid_t pid) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    int status = 0;
    while (::waitpid(pid, &status, WNOHANG) == 0) {
      if (std::chrono::steady_clock::now() > deadline) {
        ::kill(pid, SIGKILL);
        ::waitpid(pid, &status, 0);
        return std::nullopt;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  std::optional<fs::path> cgroup_;
  fs::path folder_;
  UniqueFd master_;
  UniqueFd terminal_;
};

TEST_F(ThreadLimitTest, AMachineWithoutAThreadEndsWithOneLine) {
  termios before{};
  ASSERT_EQ(::tcgetattr(terminal_.get(), &before), 0);
  const std::vector<std::string> arguments = {
      "run",
      "--kernel",
      BELLHOP_BENCH_GUEST,
      "--memory",
      "64M",
      "--cpus",
      "2",
      "--disk",
      "path=" + (folder_ / "disk.img").string() + ",aio=threads",
      "--iothread",
      "io0",
      "--iothread",
      "io1",
      "--rng",
      "--cmdline",
      "workload=randread seconds=1 threads=4"};
  bool refused = false;
  bool ran = false;
  for (const unsigned most : {1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U, 64U}) {
    SCOPED_TRACE(fmt::format("pids.max = {}", most));
    const auto status = finish(start(most, arguments));
    const std::string told = contents(folder_ / "err");
    ASSERT_TRUE(status) << "it hangs: " << told;
    termios after{};
    ASSERT_EQ(::tcgetattr(terminal_.get(), &after), 0);
    EXPECT_EQ(after.c_lflag, before.c_lflag);
    EXPECT_EQ(after.c_iflag, before.c_iflag);
    if (*status == 0) {
      ran = true;
      EXPECT_THAT(contents(folder_ / "out"), ::testing::HasSubstr("\"event\":\"result\""));
      continue;
    }
    refused = true;
    EXPECT_EQ(*status, 1) << told;
    EXPECT_EQ(std::ranges::count(told, '\n'), 1) << told;
    EXPECT_THAT(told, ::testing::StartsWith("bellhop: "));
    EXPECT_THAT(told, ::testing::HasSubstr("pids.max"));
  }
  EXPECT_TRUE(refused) << "with one thread alone it cannot run";
  EXPECT_TRUE(ran) << "with 64 it can";
}

}  // namespace
}  // namespace bellhop

#endif
