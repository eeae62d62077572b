#include "sandbox/sandbox.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <functional>
#include <string>

namespace bellhop {

namespace {

/// The exit status of `body` in a process of its own; 0: all of it was as asked.
int run_confined(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool refused(long result) { return result == -1 && errno == EPERM; }

/// The calling thread's field `Seccomp` in its status: 2 is a filter.
std::string filter_state(int tid) {
  std::ifstream status("/proc/self/task/" + std::to_string(tid) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("Seccomp:")) return line.substr(line.find_last_of(" \t") + 1);
  }
  return {};
}

Sandbox::Setup with(SeccompMode mode) { return {.mode = mode, .before_end = nullptr}; }

TEST(SandboxTest, OffConfinesNobody) {
  EXPECT_EQ(run_confined([] {
              auto sandbox = Sandbox::create(with(SeccompMode::kOff));
              if (!sandbox || !(*sandbox)->confine_main()) return 1;
              return filter_state(::gettid()) == "0" ? 0 : 2;
            }),
            0);
}

TEST(SandboxTest, ASanitizersBuildRefusesIt) {
  if (kSeccompSupported) GTEST_SKIP() << "a build without a sanitizer";
  const auto sandbox = Sandbox::create(with(SeccompMode::kKill));
  ASSERT_FALSE(sandbox);
  EXPECT_NE(sandbox.error().message.find("--seccomp: must be off"), std::string::npos);
}

class ConfinedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!kSeccompSupported) GTEST_SKIP() << "a sanitizer makes calls of its own";
  }
};

TEST_F(ConfinedTest, AThreadOpensWhatItNeedsBeforeItsFilter) {
  EXPECT_EQ(
      run_confined([] {
        auto sandbox = Sandbox::create(with(SeccompMode::kErrno));
        if (!sandbox) return 1;
        bool before = false;
        bool after = false;
        auto thread = start_thread(
            ThreadKind::kVcpu, "a test",
            ThreadWork{
                .run = [&] { after = refused(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); },
                .prepare =
                    [&] {
                      before = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
                      return Status();
                    }});
        if (!thread) return 2;
        thread->join();
        return before && after ? 0 : 3;
      }),
      0);
}

TEST_F(ConfinedTest, AThreadThatMayMakeNoneHasOneMadeThatMayDoMore) {
  EXPECT_EQ(run_confined([] {
              auto sandbox = Sandbox::create(with(SeccompMode::kErrno));
              if (!sandbox) return 1;
              int outcome = 10;
              auto device = start_thread(ThreadKind::kVcpu, "a test", [&outcome] {
                // By itself it has none.
                if (!refused(::syscall(SYS_clone, 0x10f00, nullptr, nullptr, nullptr, 0))) {
                  outcome = 11;
                  return;
                }
                bool connects = false;
                bool opens = true;
                const auto ran = run_on_thread(ThreadKind::kConnector, "a test", [&] {
                  connects = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
                  opens = !refused(::syscall(SYS_open, "/dev/null", 0));
                });
                outcome = !ran ? 12 : !connects ? 13 : opens ? 14 : 0;
              });
              if (!device) return 2;
              device->join();
              return outcome;
            }),
            0);
}

TEST_F(ConfinedTest, ALateThreadRunsWhereItsMakerDoes) {
  EXPECT_EQ(run_confined([] {
              auto sandbox = Sandbox::create(with(SeccompMode::kErrno));
              if (!sandbox) return 1;
              int outcome = 10;
              auto device = start_thread(
                  ThreadKind::kIo, "a test",
                  ThreadWork{.run =
                                 [&outcome] {
                                   cpu_set_t mine;
                                   cpu_set_t workers;
                                   ::sched_getaffinity(0, sizeof mine, &mine);
                                   CPU_ZERO(&workers);
                                   const auto ran = run_on_thread(
                                       ThreadKind::kDiskWorker, "a test",
                                       [&] { ::sched_getaffinity(0, sizeof workers, &workers); });
                                   outcome = ran && CPU_EQUAL(&mine, &workers) != 0 ? 0 : 11;
                                 },
                             .prepare =
                                 [] {
                                   cpu_set_t one;
                                   CPU_ZERO(&one);
                                   CPU_SET(static_cast<unsigned>(::sched_getcpu()), &one);
                                   ::sched_setaffinity(0, sizeof one, &one);
                                   return Status();
                                 }});
              if (!device) return 2;
              device->join();
              return outcome;
            }),
            0);
}

TEST_F(ConfinedTest, TheMainThreadReadsFilesAndWritesNone) {
  EXPECT_EQ(run_confined([] {
              auto sandbox = Sandbox::create(with(SeccompMode::kErrno));
              if (!sandbox || !(*sandbox)->confine_main()) return 1;
              if (filter_state(::gettid()) != "2") return 2;
              if (::open("/dev/null", O_RDONLY | O_CLOEXEC) < 0) return 3;
              return refused(::open("/dev/null", O_RDWR | O_CLOEXEC)) ? 0 : 4;
            }),
            0);
}

TEST_F(ConfinedTest, LogTellsOnceAndLetsTheCallBeMade) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  EXPECT_EQ(run_confined([&ends] {
              ::dup2(ends[1], STDERR_FILENO);
              auto sandbox = Sandbox::create(with(SeccompMode::kLog));
              if (!sandbox) return 1;
              bool made = false;
              auto device = start_thread(ThreadKind::kVcpu, "a test", [&made] {
                made = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) >= 0 &&
                       ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
                // Threads of such a thread have a filter of their own.
                made = made && run_on_thread(ThreadKind::kDiskWorker, "a test", [&made] {
                                 made =
                                     made && ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
                               }).has_value();
              });
              if (!device) return 2;
              device->join();
              return made ? 0 : 3;
            }),
            0);
  ::close(ends[1]);
  std::string words(512, '\0');
  std::size_t size = 0;
  while (true) {
    const ssize_t got = ::read(ends[0], words.data() + size, words.size() - size);
    if (got <= 0) break;
    size += static_cast<std::size_t>(got);
  }
  ::close(ends[0]);
  words.resize(size);
  EXPECT_EQ(
      words,
      "bellhop: seccomp: a thread of kind vCPU: system call 41 (socket) would be refused\n"
      "bellhop: seccomp: a thread of kind worker: system call 41 (socket) would be refused\n");
}

}  // namespace

}  // namespace bellhop
