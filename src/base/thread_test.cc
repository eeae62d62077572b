#include "base/thread.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <vector>

namespace bellhop {
namespace {

/// From now on this process gets EAGAIN for each new thread, as where pids.max is reached.
bool refuse_threads() {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(code), code};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST(ThreadTest, TakesNoSignalAndLeavesThoseOfItsMaker) {
  sigset_t inside;
  sigset_t before;
  sigset_t after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  ASSERT_TRUE(run_on_thread(ThreadKind::kOther, "a test",
                            [&] { pthread_sigmask(SIG_SETMASK, nullptr, &inside); }));
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGWINCH}) {
    EXPECT_EQ(sigismember(&inside, signal), 1) << signal;
    EXPECT_EQ(sigismember(&after, signal), sigismember(&before, signal)) << signal;
  }
  EXPECT_EQ(sigismember(&inside, SIGBUS), 0) << "its own faults are a handler's";
}

TEST(ThreadTest, AHostWithoutThreadsIsAnError) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (!refuse_threads()) ::_exit(77);
    const auto thread = start_thread(ThreadKind::kOther, "a test", [] {});
    const Status ran = run_on_thread(ThreadKind::kOther, "a test", [] {});
    const bool told = !thread && thread.error().code == EAGAIN && !ran &&
                      thread.error().message.starts_with("cannot start the thread of a test");
    ::_exit(told ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "this host has no seccomp filters for us";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(ThreadTest, WhatItCannotOpenIsItsMakersError) {
  bool ran = false;
  const auto thread =
      start_thread(ThreadKind::kOther, "a test",
                   ThreadWork{.run = [&ran] { ran = true; },
                              .prepare = []() -> Status { return fail("no file", ENOENT); }});
  ASSERT_FALSE(thread);
  EXPECT_EQ(thread.error().message, "no file");
  EXPECT_EQ(thread.error().code, ENOENT);
  EXPECT_FALSE(ran);
}

/// With a confinement that only takes notes.
class ConfinementTest : public ::testing::Test {
 protected:
  ConfinementTest() {
    set_confinement([this](ThreadKind kind) -> Status {
      kinds_.push_back(kind);
      if (kind == refused_) return fail("no filter", ENOMEM);
      return {};
    });
  }
  ~ConfinementTest() override { set_confinement(nullptr); }

  std::vector<ThreadKind> kinds_;  // one thread at a time adds to it
  ThreadKind refused_ = ThreadKind::kOther;
};

TEST_F(ConfinementTest, ComesAfterPreparingAndBeforeTheWork) {
  std::vector<bool> confined;
  auto thread = start_thread(ThreadKind::kIo, "a test",
                             ThreadWork{.run = [&] { confined.push_back(is_confined()); },
                                        .prepare = [&]() -> Status {
                                          confined.push_back(is_confined());
                                          return {};
                                        }});
  ASSERT_TRUE(thread);
  thread->join();
  EXPECT_EQ(confined, (std::vector{false, true}));
  EXPECT_EQ(kinds_, std::vector{ThreadKind::kIo});
  EXPECT_FALSE(is_confined());
}

TEST_F(ConfinementTest, IsNotForOthersAndItsRefusalIsAnError) {
  ASSERT_TRUE(run_on_thread(ThreadKind::kOther, "a test", [] {}));
  EXPECT_TRUE(kinds_.empty());
  refused_ = ThreadKind::kVcpu;
  bool ran = false;
  const Status done = run_on_thread(ThreadKind::kVcpu, "a test", [&ran] { ran = true; });
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message, "no filter");
  EXPECT_FALSE(ran);
}

TEST_F(ConfinementTest, AConfinedThreadsThreadsAreMadeByTheStarter) {
  auto starter = ThreadStarter::create();
  ASSERT_TRUE(starter);
  pid_t device = 0;
  std::array<pid_t, 2> workers{};
  ASSERT_TRUE(run_on_thread(ThreadKind::kVcpu, "a test", [&] {
    device = ::gettid();
    for (pid_t& worker : workers) {
      ASSERT_TRUE(run_on_thread(ThreadKind::kDiskWorker, "a test", [&] { worker = ::gettid(); }));
    }
    const auto refused = start_thread(
        ThreadKind::kDiskWorker, "a test",
        ThreadWork{.run = [] {}, .prepare = []() -> Status { return fail("no file"); }});
    EXPECT_FALSE(refused);
  }));
  EXPECT_NE(workers[0], device);
  EXPECT_EQ(kinds_, (std::vector{ThreadKind::kStarter, ThreadKind::kVcpu, ThreadKind::kDiskWorker,
                                 ThreadKind::kDiskWorker}));
}

}  // namespace
}  // namespace bellhop
