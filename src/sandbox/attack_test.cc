// A thread of each kind in the hands of an attacker: what it may not do is refused, and what it
// needs is not. Each attack runs in a process of its own that has the kind's filter.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "sandbox/filter.h"
#include "sandbox/refusal.h"
#include "sandbox/system_calls.h"

namespace bellhop::sandbox {

namespace {

using enum ThreadKind;

/// A call, and who may make it.
struct Attempt {
  const char* name;
  std::function<long()> call;
  Kinds allowed = 0;
};

constexpr long kNoFile = -1;

long open_with(int flags) { return ::syscall(SYS_openat, AT_FDCWD, "/dev/null", flags, 0600); }

std::vector<Attempt> attacks() {
  static std::array<char, 4096> page{};
  constexpr auto kAdds = kinds(kMainAdds);
  constexpr auto kReaders = kAdds | kinds(kMain, kTuner);
  constexpr auto kConnects = kAdds | kinds(kConnector, kStarter);
  const auto parent = ::getppid();
  return {
      {"open a file", [] { return open_with(O_RDONLY); }, kReaders},
      {"open a file for writing", [] { return open_with(O_RDWR); }, kAdds},
      {"make a file", [] { return open_with(O_WRONLY | O_CREAT); }, kAdds},
      {"open(2)", [] { return ::syscall(SYS_open, "/dev/null", O_RDONLY); }},
      {"openat2", [] { return ::syscall(SYS_openat2, AT_FDCWD, "/dev/null", nullptr, 0); }},
      {"make a Unix socket", [] { return ::syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0); },
       kConnects},
      {"make an Internet socket", [] { return ::syscall(SYS_socket, AF_INET, SOCK_STREAM, 0); }},
      {"make a netlink socket", [] { return ::syscall(SYS_socket, AF_NETLINK, SOCK_RAW, 0); },
       kAdds},
      {"make a pair of sockets",
       [] {
         std::array<int, 2> ends{};
         return ::syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, ends.data());
       },
       kinds(kVhostUser)},
      {"make a pair of other sockets",
       [] {
         std::array<int, 2> ends{};
         return ::syscall(SYS_socketpair, AF_TIPC, SOCK_STREAM, 0, ends.data());
       }},
      {"connect", [] { return ::syscall(SYS_connect, kNoFile, nullptr, 0); }, kConnects},
      {"bind", [] { return ::syscall(SYS_bind, kNoFile, nullptr, 0); }, kAdds},
      {"listen", [] { return ::syscall(SYS_listen, kNoFile, 1); }, kAdds},
      {"execve", [] { return ::syscall(SYS_execve, "/nothing", nullptr, nullptr); }},
      {"execveat", [] { return ::syscall(SYS_execveat, kNoFile, "", nullptr, nullptr, 0); }},
      {"fork", [] { return ::syscall(SYS_fork); }},
      {"vfork", [] { return ::syscall(SYS_clone, CLONE_VM | SIGCHLD, nullptr); }},
      {"a thread with namespaces of its own",
       [] {
         return ::syscall(SYS_clone, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
                                         CLONE_THREAD | CLONE_SYSVSEM | CLONE_NEWNET);
       }},
      {"ptrace", [parent] { return ::syscall(SYS_ptrace, PTRACE_SEIZE, parent, 0, 0); }},
      {"read a process's memory",
       [parent] { return ::syscall(SYS_process_vm_readv, parent, nullptr, 0, nullptr, 0, 0); }},
      {"write a process's memory",
       [parent] { return ::syscall(SYS_process_vm_writev, parent, nullptr, 0, nullptr, 0, 0); }},
      {"get hold of a process", [parent] { return ::syscall(SYS_pidfd_open, parent, 0); }},
      {"take a process's descriptor", [] { return ::syscall(SYS_pidfd_getfd, kNoFile, 0, 0); }},
      {"map memory that can be run",
       [] {
         return ::syscall(SYS_mmap, nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
       }},
      {"make memory one that can be run",
       [] {
         return ::syscall(SYS_mprotect, reinterpret_cast<std::uintptr_t>(page.data()) & ~0xfffUL,
                          4096, PROT_READ | PROT_EXEC);
       }},
      {"pkey_mprotect", [] { return ::syscall(SYS_pkey_mprotect, nullptr, 0, PROT_EXEC, -1); }},
      {"make a file in memory", [] { return ::syscall(SYS_memfd_create, "x", 0); },
       kinds(kVhostUser)},
      {"userfaultfd", [] { return ::syscall(SYS_userfaultfd, 0); }},
      {"signal a process", [parent] { return ::syscall(SYS_kill, parent, 0); }},
      {"signal another's thread", [parent] { return ::syscall(SYS_tgkill, parent, parent, 0); }},
      {"tkill", [parent] { return ::syscall(SYS_tkill, parent, 0); }},
      {"rt_sigqueueinfo", [parent] { return ::syscall(SYS_rt_sigqueueinfo, parent, 0, nullptr); }},
      {"handle SIGSYS", [] { return ::syscall(SYS_rt_sigaction, SIGSYS, nullptr, nullptr, 8); }},
      {"make an io_uring", [] { return ::syscall(SYS_io_uring_setup, 8, nullptr); }, kAdds},
      {"probe an io_uring",
       [] { return ::syscall(SYS_io_uring_register, kNoFile, IORING_REGISTER_PROBE, nullptr, 0); },
       kAdds},
      {"give the guest other memory",
       [] { return ::syscall(SYS_ioctl, kNoFile, KVM_SET_USER_MEMORY_REGION, nullptr); }},
      {"make a VM", [] { return ::syscall(SYS_ioctl, kNoFile, KVM_CREATE_VM, 0); }},
      {"type at a terminal", [] { return ::syscall(SYS_ioctl, kNoFile, TIOCSTI, ""); }},
      {"another filter",
       [] { return ::syscall(SYS_seccomp, 0 /* strict: needs no arguments */, 1, nullptr); },
       kinds(kStarter)},
      {"make Landlock rules", [] { return ::syscall(SYS_landlock_create_ruleset, nullptr, 0, 0); }},
      {"prctl", [] { return ::syscall(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0); }},
      {"bpf", [] { return ::syscall(SYS_bpf, 0, nullptr, 0); }},
      {"perf_event_open", [] { return ::syscall(SYS_perf_event_open, nullptr, 0, -1, -1, 0); }},
      {"mount", [] { return ::syscall(SYS_mount, nullptr, "/nothing", nullptr, 0, nullptr); }},
      {"unshare", [] { return ::syscall(SYS_unshare, CLONE_NEWUSER); }},
      {"setns", [] { return ::syscall(SYS_setns, kNoFile, 0); }},
      {"chroot", [] { return ::syscall(SYS_chroot, "/nothing"); }},
      {"setuid", [] { return ::syscall(SYS_setuid, ::getuid()); }},
      {"setrlimit", [] { return ::syscall(SYS_prlimit64, 0, 0, nullptr, nullptr); }},
      {"keyctl", [] { return ::syscall(SYS_keyctl, 0, 0, 0, 0, 0); }},
      {"rename", [] { return ::syscall(SYS_rename, "/nothing", "/nowhere"); }},
      {"chmod", [] { return ::syscall(SYS_chmod, "/nothing", 0600); }},
      {"remove a file", [] { return ::syscall(SYS_unlink, "/nothing"); },
       kAdds | kinds(kMain, kVhostUser)},
      {"link a file", [] { return ::syscall(SYS_linkat, kNoFile, "", kNoFile, "", 0); }},
      {"name_to_handle_at", [] { return ::syscall(SYS_open_by_handle_at, kNoFile, nullptr, 0); }},
  };
}

/// What a kind would not work without.
std::vector<Attempt> needs() {
  constexpr Kinds kEvery = ~Kinds{0};
  constexpr auto kQueues = kinds(kVcpu, kIo);
  return {
      {"futex", [] { return ::syscall(SYS_futex, nullptr, 0, 0, nullptr, nullptr, 0); }, kEvery},
      {"write", [] { return ::syscall(SYS_write, kNoFile, nullptr, 0); }, kEvery},
      {"memory",
       [] {
         return ::syscall(SYS_mmap, nullptr, 4096, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
       },
       kEvery},
      {"signal itself", [] { return ::syscall(SYS_tgkill, ::getpid(), ::gettid(), 0); }, kEvery},
      {"run the guest", [] { return ::syscall(SYS_ioctl, kNoFile, KVM_RUN, 0); }, kinds(kVcpu)},
      {"KVM_IRQFD", [] { return ::syscall(SYS_ioctl, kNoFile, KVM_IRQFD, nullptr); },
       kQueues | kinds(kMain, kMainAdds, kTuner, kVhostUser)},
      {"io_uring_enter", [] { return ::syscall(SYS_io_uring_enter, kNoFile, 0, 0, 0, 0, 0); },
       kQueues},
      {"io_submit", [] { return ::syscall(SYS_io_submit, 0, 0, nullptr); }, kQueues},
      {"pread", [] { return ::syscall(SYS_pread64, kNoFile, nullptr, 0, 0); },
       kQueues | kinds(kDiskWorker)},
      {"fdatasync", [] { return ::syscall(SYS_fdatasync, kNoFile); }, kQueues | kinds(kDiskWorker)},
      {"epoll_wait", [] { return ::syscall(SYS_epoll_wait, kNoFile, nullptr, 0, 0); },
       kQueues | kinds(kMain, kMainAdds, kApi, kTuner)},
      {"accept4", [] { return ::syscall(SYS_accept4, kNoFile, nullptr, nullptr, 0); },
       kinds(kIo, kApi, kVhostUser)},
      {"wait4", [] { return ::syscall(SYS_wait4, -1, nullptr, WNOHANG, nullptr); },
       kinds(kMain, kMainAdds)},
  };
}

/// The last line of its standard error, and how it ended.
struct Ending {
  int status = 0;
  std::string words;
};

/// `body` in a process of its own.
Ending run_apart(const std::function<void()>& body) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe(ends.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], STDERR_FILENO);
    ::prctl(PR_SET_DUMPABLE, 0);  // no core files
    body();
    ::_exit(0);
  }
  ::close(ends[1]);
  Ending ending;
  std::array<char, 512> text{};
  while (true) {
    const ssize_t got = ::read(ends[0], text.data(), text.size());
    if (got <= 0) break;
    ending.words.append(text.data(), static_cast<std::size_t>(got));
  }
  ::close(ends[0]);
  ::waitpid(child, &ending.status, 0);
  return ending;
}

/// In such a process: the filter knows its id.
void confine(ThreadKind kind, SeccompMode mode) {
  const auto filter = make_filter(kind, mode);
  if (!filter || !install_filter(*filter, mode)) ::_exit(1);
}

std::string name_test(const ::testing::TestParamInfo<ThreadKind>& info) {
  std::string name(name_of(info.param));
  std::erase_if(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; });
  return name;
}

class SeccompTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!kSeccompSupported) GTEST_SKIP() << "a sanitizer makes calls of its own";
  }
};

class AttackTest : public SeccompTest, public ::testing::WithParamInterface<ThreadKind> {};

INSTANTIATE_TEST_SUITE_P(Kinds, AttackTest,
                         ::testing::ValuesIn(confined_kinds().begin(), confined_kinds().end()),
                         name_test);

// EPERM is the filter's: none of these calls, made as they are here, gives it by itself to root or
// to others but those that need rights, which nobody may make.
TEST_P(AttackTest, WhatItHasNoUseForIsRefused) {
  const auto ending = run_apart([&] {
    const auto all = attacks();
    confine(GetParam(), SeccompMode::kErrno);
    for (const Attempt& one : all) {
      if ((one.allowed & kinds(GetParam())) != 0) continue;
      errno = 0;
      if (one.call() == -1 && errno == EPERM) continue;
      const std::string line = std::string("not refused: ") + one.name + "\n";
      (void)!::write(STDERR_FILENO, line.data(), line.size());
    }
  });
  EXPECT_EQ(ending.words, "");
  EXPECT_EQ(ending.status, 0);
}

TEST_P(AttackTest, WhatItNeedsIsNot) {
  const auto ending = run_apart([&] {
    const auto all = needs();
    confine(GetParam(), SeccompMode::kErrno);
    for (const Attempt& one : all) {
      if ((one.allowed & kinds(GetParam())) == 0) continue;
      errno = 0;
      if (one.call() != -1 || errno != EPERM) continue;
      const std::string line = std::string("refused: ") + one.name + "\n";
      (void)!::write(STDERR_FILENO, line.data(), line.size());
    }
  });
  EXPECT_EQ(ending.words, "");
  EXPECT_EQ(ending.status, 0);
}

TEST_P(AttackTest, ARefusedCallEndsTheProcessWithOneLine) {
  const auto ending = run_apart([&] {
    if (!tell_refusals(nullptr)) ::_exit(1);
    name_this_thread(GetParam());
    confine(GetParam(), SeccompMode::kKill);
    (void)::syscall(SYS_ptrace, PTRACE_SEIZE, 1, 0, 0);
  });
  EXPECT_TRUE(WIFSIGNALED(ending.status) && WTERMSIG(ending.status) == SIGSYS) << ending.status;
  EXPECT_NE(ending.words.find("system call 101 (ptrace: 0x4206 0x1 0x0) refused"),
            std::string::npos)
      << ending.words;
  EXPECT_NE(ending.words.find("(" + std::string(name_of(GetParam())) + ")"), std::string::npos)
      << ending.words;
  EXPECT_EQ(std::ranges::count(ending.words, '\n'), 1);
}

TEST_F(SeccompTest, ABlockedSignalOrAFullPipeKeepsNothingAlive) {
  const auto ending = run_apart([&] {
    if (!tell_refusals(nullptr)) ::_exit(1);
    std::array<int, 2> full{};
    if (::pipe2(full.data(), O_NONBLOCK) != 0) ::_exit(1);
    while (::write(full[1], "x", 1) == 1) {
    }
    ::fcntl(full[1], F_SETFL, 0);
    ::dup2(full[1], STDERR_FILENO);
    confine(kVcpu, SeccompMode::kKill);
    (void)::syscall(SYS_fork);
  });
  EXPECT_TRUE(WIFSIGNALED(ending.status) && WTERMSIG(ending.status) == SIGSYS) << ending.status;
  const auto blocked = run_apart([&] {
    if (!tell_refusals(nullptr)) ::_exit(1);
    confine(kVcpu, SeccompMode::kKill);
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
    (void)::syscall(SYS_fork);
  });
  EXPECT_TRUE(WIFSIGNALED(blocked.status) && WTERMSIG(blocked.status) == SIGSYS) << blocked.status;
}

// The numbers of 32-bit calls are others: 5 is open there.
TEST_F(SeccompTest, CallsOfAnotherAbiAreTheEnd) {
  const auto ending = run_apart([&] {
    confine(kVcpu, SeccompMode::kKill);
    long result = 5;
    asm volatile("int $0x80" : "+a"(result) : "b"(0L), "c"(0L), "d"(0L) : "memory");
  });
  EXPECT_TRUE(WIFSIGNALED(ending.status) && WTERMSIG(ending.status) == SIGSYS) << ending.status;
}

TEST(SystemCallsTest, ThePageHasTheCounts) {
  const auto page = std::filesystem::path(__FILE__).parent_path() / "../../docs/sandbox.md";
  std::ostringstream text;
  text << std::ifstream(page).rdbuf();
  for (const ThreadKind kind : confined_kinds()) {
    const CallCount count = count_calls(kind);
    const std::string row = "\n| " + std::string(name_of(kind)) + " | ";
    const std::string counts =
        " | " + std::to_string(count.calls) + " | " + std::to_string(count.requests) + " | ";
    const std::string all = text.str();
    const auto begin = all.find(row);
    ASSERT_NE(begin, std::string::npos) << name_of(kind);
    const std::string line = all.substr(begin + 1, all.find('\n', begin + 1) - begin - 1);
    EXPECT_NE(line.find(counts), std::string::npos) << line << ", but it is" << counts;
  }
}

}  // namespace

}  // namespace bellhop::sandbox
