// A thread under Landlock in the hands of an attacker, in a process of its own.

#include "sandbox/landlock.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "sandbox/landlock_abi.h"
#include "sandbox/sandbox.h"

namespace bellhop::sandbox {

namespace {

namespace fs = std::filesystem;

class LandlockTest : public ::testing::Test {
 protected:
  void SetUp() override {
    version_ = landlock_version();
    if (version_.abi == 0) GTEST_SKIP() << "this kernel has no Landlock";
    folder_ = fs::path(::testing::TempDir()) / ("bellhop-landlock-" + std::to_string(::getpid()));
    fs::create_directories(folder_ / "given");
    for (const char* const name : {"mine", "image", "other", "given/inside"}) {
      std::ofstream(folder_ / name) << "text";
    }
  }
  void TearDown() override { fs::remove_all(folder_); }

  [[nodiscard]] std::string at(const char* name) const { return (folder_ / name).string(); }

  /// The rules of a machine with a kernel, a disk, a socket and a folder for what comes later.
  void restrict_as_machine(LandlockVersion version) const {
    auto rules = LandlockRules::create(version, LandlockRules::Signals::kRefused);
    if (!rules || !rules->allow({at("mine"), HostUse::kRead}) ||
        !rules->allow({at("image"), HostUse::kMedium}) ||
        !rules->allow({at("given"), HostUse::kWriteBelow}) || !rules->restrict_this_thread()) {
      ::_exit(100);
    }
  }
  /// 0, or the number of the first of `steps` that is false.
  static int first_wrong(const std::function<int()>& body) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(body());
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  LandlockVersion version_;
  fs::path folder_;
};

bool denied(long result, int error = EACCES) { return result == -1 && errno == error; }

TEST_F(LandlockTest, FilesThatNobodyNamedAreOutOfReach) {
  EXPECT_EQ(first_wrong([&] {
              restrict_as_machine(version_);
              if (!denied(::open(at("other").c_str(), O_RDONLY))) return 1;
              if (!denied(::open("/etc/passwd", O_RDONLY))) return 2;
              if (!denied(::open(at("mine").c_str(), O_RDWR))) return 3;
              if (!denied(::open(at("new").c_str(), O_WRONLY | O_CREAT, 0600))) return 4;
              if (!denied(::unlink(at("mine").c_str()))) return 5;
              if (!denied(::rename(at("other").c_str(), at("given/other").c_str()))) return 6;
              if (!denied(::mkdir(at("folder").c_str(), 0700))) return 7;
              if (!denied(::execl("/bin/sh", "sh", nullptr))) return 8;
              if (!denied(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY))) return 9;
              if (!denied(::symlink("/", at("given/link").c_str()))) return 10;
              return 0;
            }),
            0);
}

TEST_F(LandlockTest, WhatWasNamedIsNot) {
  EXPECT_EQ(first_wrong([&] {
              restrict_as_machine(version_);
              if (::open(at("mine").c_str(), O_RDONLY) < 0) return 1;
              const int image = ::open(at("image").c_str(), O_RDWR);
              if (image < 0) return 2;
              // As a disk is opened once more, for its locks.
              if (::open(("/proc/self/fd/" + std::to_string(image)).c_str(), O_RDWR) < 0) return 3;
              if (::open(at("given/inside").c_str(), O_RDWR | O_TRUNC) < 0) return 4;
              if (::open(at("given/new").c_str(), O_RDWR | O_CREAT, 0600) < 0) return 5;
              if (::unlink(at("given/new").c_str()) != 0) return 6;
              return 0;
            }),
            0);
}

TEST_F(LandlockTest, ASocketThatWasMadeMayBeRemovedAndNoneConnectedTo) {
  EXPECT_EQ(first_wrong([&] {
              auto rules = LandlockRules::create(version_, LandlockRules::Signals::kRefused);
              if (!rules || !rules->allow({at("given/socket"), HostUse::kListens})) return 1;
              if (!rules->restrict_this_thread()) return 2;
              if (::unlink(at("given/inside").c_str()) != 0) return 3;
              return denied(::open(at("given/made").c_str(), O_WRONLY | O_CREAT, 0600)) ? 0 : 4;
            }),
            0);
}

TEST_F(LandlockTest, TcpIsRefused) {
  if (version_.abi < 4) GTEST_SKIP() << "Landlock " << version_.abi << " knows nothing of TCP";
  EXPECT_EQ(first_wrong([&] {
              restrict_as_machine(version_);
              const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
              if (socket < 0) return 1;
              sockaddr_in address{};
              address.sin_family = AF_INET;
              address.sin_port = htons(9);
              address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
              const auto* const at = reinterpret_cast<const sockaddr*>(&address);
              if (!denied(::connect(socket, at, sizeof address))) return 2;
              return denied(::bind(socket, at, sizeof address)) ? 0 : 3;
            }),
            0);
}

TEST_F(LandlockTest, AbstractSocketsAndSignalsOfOthersAreRefused) {
  if (version_.abi < 6) GTEST_SKIP() << "Landlock " << version_.abi << " does not scope these";
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = "bellhop-" + std::to_string(::getpid());
  name.copy(address.sun_path + 1, name.size());
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  const auto* const place = reinterpret_cast<const sockaddr*>(&address);
  ASSERT_EQ(::bind(listener, place, size), 0);
  ASSERT_EQ(::listen(listener, 1), 0);
  const bool scoped = (version_.errata & landlock::kErratumThreadSignals) != 0;
  EXPECT_EQ(first_wrong([&] {
              restrict_as_machine(version_);
              const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
              if (!denied(::connect(socket, place, size), EPERM)) return 1;
              if (scoped && !denied(::kill(::getppid(), 0), EPERM)) return 2;
              return ::raise(0) == 0 ? 0 : 3;
            }),
            0);
  ::close(listener);
}

/// Each version that there has been up to this kernel's.
TEST_F(LandlockTest, OlderVersionsRefuseWhatTheyKnow) {
  for (int abi = 1; abi <= version_.abi; ++abi) {
    EXPECT_EQ(first_wrong([&] {
                restrict_as_machine({.abi = abi, .error = 0, .errata = 0});
                if (!denied(::open(at("other").c_str(), O_RDONLY))) return 1;
                if (::open(at("mine").c_str(), O_RDONLY) < 0) return 2;
                if (::open(at("image").c_str(), O_RDWR) < 0) return 3;
                const bool truncates = ::truncate(at("other").c_str(), 4) == 0;
                return truncates == (abi < 3) ? 0 : 4;
              }),
              0)
        << abi;
  }
}

TEST(NoLandlockTest, IsTold) {
  const auto none =
      LandlockRules::create({.abi = 0, .error = ENOSYS}, LandlockRules::Signals::kRefused);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ENOSYS);
  EXPECT_NE(none.error().message.find("the kernel has no Landlock"), std::string::npos);
}

TEST_F(LandlockTest, ThreadsOfAMachineReachNoFileButTheMainOneItsOwn) {
  EXPECT_EQ(first_wrong([&] {
              Sandbox::Setup setup;
              setup.mode = SeccompMode::kOff;
              setup.landlock = LandlockMode::kOn;
              setup.needs.add(at("mine"), HostUse::kRead);
              setup.needs.add(at("missing"), HostUse::kRead);
              auto sandbox = Sandbox::create(setup);
              if (!sandbox) return 1;
              int wrong = 0;
              const auto reads = [&](const char* name) {
                return ::open(at(name).c_str(), O_RDONLY | O_CLOEXEC) >= 0;
              };
              if (!run_on_thread(ThreadKind::kVcpu, "a test", [&] {
                     if (reads("mine") || reads("other")) wrong = 2;
                     // Made late, by the starter.
                     if (!run_on_thread(ThreadKind::kDiskWorker, "a test", [&] {
                            if (reads("mine")) wrong = 3;
                          }).has_value()) {
                       wrong = 4;
                     }
                   }).has_value()) {
                return 5;
              }
              if (wrong != 0 || !reads("other")) return 6 + wrong;
              if (!(*sandbox)->confine_main()) return 20;
              if (::open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC) < 0) return 21;
              return reads("mine") && !reads("other") ? 0 : 22;
            }),
            0);
}

TEST_F(LandlockTest, WithFiltersTooLateThreadsAreStillMade) {
  if (!kSeccompSupported) GTEST_SKIP() << "a sanitizer makes calls of its own";
  EXPECT_EQ(first_wrong([&] {
              Sandbox::Setup setup;
              setup.mode = SeccompMode::kErrno;
              setup.landlock = LandlockMode::kOn;
              auto sandbox = Sandbox::create(setup);
              if (!sandbox || !(*sandbox)->confine_main()) return 1;
              bool ran = false;
              if (!run_on_thread(ThreadKind::kDiskWorker, "a test", [&ran] { ran = true; })) {
                return 2;
              }
              return ran ? 0 : 3;
            }),
            0);
}

TEST_F(LandlockTest, AGrantedPathThatIsMissingIsRefusedByName) {
  Sandbox::Setup setup;
  setup.mode = SeccompMode::kOff;
  setup.landlock = LandlockMode::kOn;
  setup.needs.add(at("missing"), HostUse::kReadBelow);
  const auto sandbox = Sandbox::create(setup);
  ASSERT_FALSE(sandbox);
  EXPECT_NE(sandbox.error().message.find("--landlock-rules: path=" + at("missing")),
            std::string::npos)
      << sandbox.error().message;
}

}  // namespace

}  // namespace bellhop::sandbox
