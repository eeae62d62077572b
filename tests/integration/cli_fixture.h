#pragma once

// The real program: how a test starts it, and what it must say.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "testing/eventually.h"

namespace bellhop {

struct Outcome {
  int status = -1;  ///< exit status, or 128 + signal
  std::string out;
  std::string err;
};

class CliTest : public ::testing::Test {
 protected:
  CliTest()
      : folder_(std::filesystem::path(::testing::TempDir()) /
                ("bellhop-cli-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(folder_);
    image_ = make_file("disk.img", 1 << 20);
    kernel_ = make_file("kernel", 4096);
  }
  ~CliTest() override { std::filesystem::remove_all(folder_); }

  std::string make_file(const std::string& name, std::uintmax_t bytes) {
    const std::filesystem::path path = folder_ / name;
    std::ofstream(path).close();
    std::filesystem::resize_file(path, bytes);
    return path.string();
  }
  static std::string contents(const std::filesystem::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  }

  /// Starts the program. What it prints goes to files of the names `out` and `err`, with `beside`
  /// before them: two that run at the same time do not write to one file.
  pid_t start(
      const std::vector<std::string>& arguments, const std::function<void()>& in_child = [] {},
      const std::string& beside = {}) {
    const std::string out = (folder_ / (beside + "out")).string();
    const std::string err = (folder_ / (beside + "err")).string();
    std::vector<char*> argv = {const_cast<char*>(BELLHOP_EXECUTABLE)};
    for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::signal(SIGINT, SIG_DFL);  // a test that runs in a shell's background has it ignored
      ::signal(SIGHUP, hangup_);
      ::dup2(::open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
      ::dup2(::open(output_.empty() ? out.c_str() : output_.c_str(),
                    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600),
             1);
      ::dup2(::open(err.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), 2);
      in_child();
      for (const int fd : closed_) ::close(fd);
      ::execv(argv[0], argv.data());
      ::_exit(126);
    }
    return pid;
  }
  Outcome finish(pid_t pid, const std::string& beside = {}) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
            contents(folder_ / (beside + "out")), contents(folder_ / (beside + "err"))};
  }
  /// Waits until a file of the test's folder has this text; false if it never does.
  [[nodiscard]] bool says(const std::string& file, const std::string& text) {
    return testing::eventually(
        [&] { return contents(folder_ / file).find(text) != std::string::npos; });
  }
  /// The program from its start to its end, whatever else the test has running.
  Outcome bellhop(const std::vector<std::string>& arguments) {
    const std::string own = "short-";
    const auto nothing = [] {};
    const pid_t pid = start(arguments, nothing, own);
    return finish(pid, own);
  }

  void expect_refused(const std::vector<std::string>& arguments, const std::string& complaint) {
    const Outcome outcome = bellhop(arguments);
    EXPECT_EQ(outcome.status, 2) << complaint;
    EXPECT_THAT(outcome.err, ::testing::HasSubstr(complaint));
    EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
    EXPECT_EQ(outcome.out, "");
  }
  void expect_run_refused(std::vector<std::string> arguments, const std::string& complaint) {
    arguments.insert(arguments.begin(), {"run", "--kernel", kernel_});
    expect_refused(arguments, complaint);
  }

  std::filesystem::path folder_;
  std::string output_;       ///< standard output, where it is not a file of ours
  std::vector<int> closed_;  ///< descriptors that the program is started without
  sighandler_t hangup_ = SIG_DFL;
  std::string image_;
  std::string kernel_;
};

/// Runs that need a KVM.
class CliMachineTest : public CliTest {
 protected:
  void SetUp() override {
    if (::access("/dev/kvm", R_OK | W_OK) != 0) GTEST_SKIP() << "this host has no /dev/kvm for us";
  }
};

}  // namespace bellhop
