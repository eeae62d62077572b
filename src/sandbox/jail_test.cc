// What a jail's process sees and may do, as root and as others. What this host does not let us have
// is skipped with its reason.

#include "sandbox/jail.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <string>

namespace bellhop {

namespace {

namespace fs = std::filesystem;

constexpr uid_t kUser = 54321;

struct JailOutcome {
  int status = -1;
  std::string fault;  ///< of enter_jail()
  std::string words;  ///< standard error
};

class JailTest : public ::testing::Test {
 protected:
  JailTest()
      : folder_(fs::path(::testing::TempDir()) / ("bellhop-jail-" + std::to_string(::getpid()))) {
    fs::create_directories(folder_ / "sockets");
    for (const char* const name : {"kernel", "image", "secret"}) {
      std::ofstream(folder_ / name) << "text";
    }
    settings_.id = "bellhop-test-" + std::to_string(::getpid());
    settings_.strict = true;
    if (::geteuid() == 0 && may_have_namespaces()) {
      settings_.uid = settings_.gid = kUser;
      for (const char* const name : {"image", "sockets"}) {
        (void)!::chown((folder_ / name).c_str(), kUser, kUser);
      }
      fs::permissions(folder_, fs::perms::others_all, fs::perm_options::add);
    }
    needs_.add(at("kernel"), HostUse::kRead);
    needs_.add(at("image"), HostUse::kMedium);
    needs_.add(at("output"), HostUse::kOutput);
    needs_.add(at("sockets/api.sock"), HostUse::kListens);
  }
  ~JailTest() override { fs::remove_all(folder_); }

  /// Root of a container may not.
  static bool may_have_namespaces() {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(::unshare(CLONE_NEWNS) == 0 ? 0 : 1);
    int status = 0;
    ::waitpid(child, &status, 0);
    return status == 0;
  }

  [[nodiscard]] std::string at(const char* name) const { return (folder_ / name).string(); }

  /// `body` in the jail; `outside` once it can be signalled, with the outer process's id.
  JailOutcome jailed(const std::function<int()>& body,
                     const std::function<void(pid_t)>& outside = nullptr) const {
    std::array<int, 2> words{};
    EXPECT_EQ(::pipe2(words.data(), O_CLOEXEC), 0);
    const pid_t outer = ::fork();
    if (outer == 0) {
      ::dup2(words[1], STDERR_FILENO);
      const auto entered = enter_jail(settings_, needs_);
      if (!entered) {
        (void)!::write(STDERR_FILENO, entered.error().message.data(),
                       entered.error().message.size());
        ::_exit(99);
      }
      ::_exit(*entered ? **entered : body());
    }
    ::close(words[1]);
    if (outside) outside(outer);
    JailOutcome outcome;
    std::array<char, 512> text{};
    while (true) {
      const ssize_t got = ::read(words[0], text.data(), text.size());
      if (got <= 0) break;
      outcome.words.append(text.data(), static_cast<std::size_t>(got));
    }
    ::close(words[0]);
    int status = 0;
    ::waitpid(outer, &status, 0);
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return outcome;
  }
  /// Skips where this host gives no jail: with its own words why.
  void expect(const std::function<int()>& body) const {
    const JailOutcome outcome = jailed(body);
    if (outcome.status == 99 && outcome.words.find("--strict: without") != std::string::npos) {
      GTEST_SKIP() << outcome.words;
    }
    EXPECT_EQ(outcome.status, 0) << outcome.words;
    EXPECT_EQ(outcome.words, "");
  }

  fs::path folder_;
  JailSettings settings_;
  HostNeeds needs_;
};

bool no_file(const std::string& path) {
  return ::open(path.c_str(), O_RDONLY | O_CLOEXEC) < 0 && errno == ENOENT;
}

TEST_F(JailTest, ThereIsNothingButWhatWasNamed) {
  expect([&] {
    if (!no_file(at("secret"))) return 1;
    if (!no_file("/etc/passwd") || !no_file("/bin/sh") || !no_file("/sys/kernel")) return 2;
    if (::open(at("kernel").c_str(), O_RDONLY) < 0) return 3;
    if (::open(at("kernel").c_str(), O_RDWR) >= 0) return 4;
    if (::open(at("image").c_str(), O_RDWR) < 0) return 5;
    if (::open(at("output").c_str(), O_WRONLY) < 0) return 6;
    if (::open(at("sockets/made").c_str(), O_WRONLY | O_CREAT, 0600) < 0) return 7;
    if (::open(at("new").c_str(), O_WRONLY | O_CREAT, 0600) >= 0) return 8;
    if (::open("/new", O_WRONLY | O_CREAT, 0600) >= 0 || errno == 0) return 9;
    std::set<std::string> root;
    for (const auto& one : fs::directory_iterator("/")) root.insert(one.path().string());
    return root.contains("/proc") && root.contains("/dev") && !root.contains("/usr") ? 0 : 10;
  });
  EXPECT_TRUE(fs::exists(folder_ / "sockets/made") || ::testing::Test::IsSkipped());
}

TEST_F(JailTest, OthersAreNotSeenNorReached) {
  const pid_t neighbour = ::getpid();
  expect([neighbour] {
    int processes = 0;
    for (const auto& one : fs::directory_iterator("/proc")) {
      if (std::isdigit(static_cast<unsigned char>(one.path().filename().string()[0])) != 0) {
        ++processes;
      }
    }
    if (processes != 2) return 1;  // the jail's first, and this one
    if (neighbour > 2 && (::kill(neighbour, 0) == 0 || errno != ESRCH)) return 2;
    if (::ptrace(PTRACE_SEIZE, neighbour, 0, 0) == 0) return 3;
    if (::ptrace(PTRACE_SEIZE, 1, 0, 0) == 0) return 4;
    return ::getpid() == 2 ? 0 : 5;
  });
}

TEST_F(JailTest, ThereAreNoRightsAndNoWayToMore) {
  expect([] {
    if (::mount("none", "/proc", "tmpfs", 0, nullptr) == 0 || errno != EPERM) return 1;
    if (::umount2("/proc", MNT_DETACH) == 0) return 2;
    if (::chroot("/proc") == 0) return 3;
    if (::unshare(CLONE_NEWNS) == 0) return 4;
    if (::setuid(0) == 0) return 5;
    if (::mknod("/dev/mem", S_IFCHR | 0600, 0x101) == 0) return 6;
    if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) return 7;
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
      const bool own = line.starts_with("CapEff") || line.starts_with("CapPrm");
      if (own && line.find("0000000000000000") == std::string::npos) return 8;
    }
    rlimit core{};
    return ::getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0 ? 0 : 9;
  });
}

TEST_F(JailTest, ThereIsNoNetworkUnlessItIsNeeded) {
  const auto count = [] {
    int interfaces = 0;
    struct if_nameindex* const all = ::if_nameindex();
    for (auto* one = all; one != nullptr && one->if_index != 0; ++one) ++interfaces;
    ::if_freenameindex(all);
    return interfaces;
  };
  const int outside = count();
  expect([&] { return count() == 1 ? 0 : 1; });
  needs_.network = true;
  expect([&] { return count() == outside ? 0 : 1; });
  settings_.network = JailSettings::Network::kNone;
  expect([&] { return count() == 1 ? 0 : 1; });
}

TEST_F(JailTest, LimitsHold) {
  settings_.limits = {{RLIMIT_NOFILE, 20}, {RLIMIT_FSIZE, 4096}, {RLIMIT_AS, 1 << 30}};
  expect([&] {
    int fd = 0;
    while (fd >= 0) fd = ::open("/dev/null", O_RDONLY);
    if (errno != EMFILE) return 1;
    ::signal(SIGXFSZ, SIG_IGN);
    ::close(19);
    const int file = ::open(at("image").c_str(), O_RDWR);
    if (::ftruncate(file, 8192) == 0 || errno != EFBIG) return 2;
    return ::mmap(nullptr, std::size_t{2} << 30, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                   MAP_FAILED
               ? 0
               : 3;
  });
}

TEST_F(JailTest, DescriptorsThatWereNotNamedAreClosed) {
  const int named = ::open("/dev/null", O_RDONLY);
  const int other = ::open("/dev/null", O_RDONLY);
  needs_.descriptors = {named};
  expect([named, other] {
    if (::fcntl(named, F_GETFD) < 0) return 1;
    return ::fcntl(other, F_GETFD) < 0 && errno == EBADF ? 0 : 2;
  });
  ::close(named);
  ::close(other);
}

TEST_F(JailTest, ItsEndIsPassedOn) {
  settings_.strict = false;
  EXPECT_EQ(jailed([] { return 7; }).status, 7);
  EXPECT_EQ(jailed([] {
              ::signal(SIGABRT, SIG_DFL);
              ::abort();
              return 0;
            }).status,
            128 + SIGABRT);
}

TEST_F(JailTest, SignalsArePassedOn) {
  settings_.strict = false;
  for (const int signal : {SIGTERM, SIGUSR1}) {
    std::array<int, 2> ready{};
    ASSERT_EQ(::pipe(ready.data()), 0);
    needs_.descriptors = {ready[1]};
    const JailOutcome outcome = jailed(
        [&] {
          sigset_t set;
          ::sigemptyset(&set);
          ::sigaddset(&set, signal);
          ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
          (void)!::write(ready[1], "", 1);
          int got = 0;
          ::sigwait(&set, &got);
          return got == signal ? 42 : 1;
        },
        [&](pid_t outer) {
          char byte = 0;
          ::close(ready[1]);
          ASSERT_EQ(::read(ready[0], &byte, 1), 1);
          ::kill(outer, signal);
        });
    ::close(ready[0]);
    EXPECT_EQ(outcome.status, 42) << outcome.words;
  }
}

TEST_F(JailTest, NothingIsLeftWhenTheOuterProcessIsKilled) {
  settings_.strict = false;
  std::array<int, 2> alive{};
  ASSERT_EQ(::pipe(alive.data()), 0);
  needs_.descriptors = {alive[1]};
  const JailOutcome outcome = jailed(
      [&] {
        (void)!::write(alive[1], "", 1);
        while (true) ::pause();
        return 0;
      },
      [&](pid_t outer) {
        ::close(alive[1]);
        char byte = 0;
        ASSERT_EQ(::read(alive[0], &byte, 1), 1);
        ::kill(outer, SIGKILL);
        // The end of the last one that has it open.
        EXPECT_EQ(::read(alive[0], &byte, 1), 0);
      });
  ::close(alive[0]);
  EXPECT_EQ(outcome.status, 128 + SIGKILL);
}

TEST_F(JailTest, WhatWasMadeForAStartThatFailedGoesAgain) {
  settings_.strict = false;
  EXPECT_EQ(jailed([] { return 1; }).status, 1);
  EXPECT_FALSE(fs::exists(folder_ / "output"));
}

TEST_F(JailTest, StrictRefusesAFolderOfASocketWithOtherFiles) {
  needs_.add(at("api.sock"), HostUse::kListens);
  const JailOutcome outcome = jailed([] { return 0; });
  EXPECT_EQ(outcome.status, 99);
  EXPECT_NE(outcome.words.find("--strict: without"), std::string::npos) << outcome.words;
}

TEST_F(JailTest, ANetworkNamespaceThatIsNoneIsRefusedByName) {
  settings_.network = JailSettings::Network::kJoin;
  settings_.netns = at("image");
  const JailOutcome outcome = jailed([] { return 0; });
  EXPECT_EQ(outcome.status, 99);
  EXPECT_NE(outcome.words.find("--netns: " + at("image")), std::string::npos) << outcome.words;
}

/// Where cgroups of version 2 have the controller, and may be made.
/// Below one of the test's own, since this process is in its own cgroup beside the jail's.
class JailCgroupTest : public JailTest {
 protected:
  ~JailCgroupTest() override {
    if (!parent_.empty()) (void)::rmdir(parent_.c_str());
  }
  bool prepare(const sandbox::CgroupValue& value) {
    settings_.strict = false;
    settings_.cgroup = {value};
    settings_.parent_cgroup = settings_.id + "-parent";
    const auto made = make();
    if (!made) why_ = made.error().message;
    if (made) parent_ = fs::path(made->folder()).parent_path().string();
    return made.has_value();
  }
  [[nodiscard]] Result<sandbox::Cgroup> make() const {
    return sandbox::Cgroup::create(settings_.id, settings_.parent_cgroup, settings_.cgroup);
  }
  std::string why_;

 private:
  std::string parent_;
};

TEST_F(JailCgroupTest, OneIsMadeAndGoes) {
  if (!prepare({"cgroup.max.depth", "0"})) GTEST_SKIP() << why_;
  std::string folder;
  {
    const auto made = make();
    ASSERT_TRUE(made);
    folder = made->folder();
    EXPECT_TRUE(fs::exists(folder));
  }
  EXPECT_FALSE(fs::exists(folder));
  std::ifstream limit;
  EXPECT_EQ(jailed([] { return 5; }).status, 5);
  EXPECT_FALSE(fs::exists(folder));
}

TEST_F(JailCgroupTest, NoMoreProcessesThanAllowed) {
  if (!prepare({"pids.max", "3"})) GTEST_SKIP() << why_;
  const JailOutcome outcome = jailed([] {
    for (int i = 0; i < 8; ++i) {
      const pid_t one = ::fork();
      if (one == 0) {
        ::pause();
        ::_exit(0);
      }
      if (one < 0) return errno == EAGAIN ? 0 : 2;
    }
    return 1;
  });
  EXPECT_EQ(outcome.status, 0) << outcome.words;
}

TEST_F(JailCgroupTest, NoMoreMemoryThanAllowed) {
  if (!prepare({"memory.max", "32M"})) GTEST_SKIP() << why_;
  const JailOutcome outcome = jailed([] {
    constexpr std::size_t kBytes = std::size_t{256} << 20;
    auto* const all = static_cast<char*>(
        ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    for (std::size_t i = 0; i < kBytes; i += 4096) all[i] = 1;
    return 0;
  });
  EXPECT_EQ(outcome.status, 128 + SIGKILL) << outcome.words;
}

TEST_F(JailCgroupTest, AFileThatIsNoneIsRefusedByName) {
  settings_.cgroup = {{"../memory.max", "1"}};
  const JailOutcome outcome = jailed([] { return 0; });
  EXPECT_EQ(outcome.status, 99);
  EXPECT_NE(outcome.words.find("--cgroup: '../memory.max' is wrong"), std::string::npos)
      << outcome.words;
}

}  // namespace

}  // namespace bellhop
