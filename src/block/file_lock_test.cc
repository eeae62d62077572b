#include "base/file_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <thread>

#include "block/block_fixture.h"

namespace bellhop {
namespace {

using ::testing::HasSubstr;

RawFileSource writing(const ScratchFile& file) {
  return {
      .path = file.path(), .read_only = false, .cache = Cache::kWriteback, .aio = Aio::kThreads};
}

RawFileSource reading(const ScratchFile& file) {
  RawFileSource config = writing(file);
  config.read_only = true;
  return config;
}

TEST(FileLock, OneWriterAtATime) {
  const ScratchFile file("/var/tmp", 1 << 20);
  auto first = open_raw_file(writing(file));
  ASSERT_TRUE(first) << first.error().message;
  const auto second = open_raw_file(writing(file));
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr(file.path()));
  EXPECT_THAT(second.error().message, HasSubstr("in use by"));
  EXPECT_THAT(second.error().message, HasSubstr(std::to_string(::getpid())));
  EXPECT_FALSE(open_raw_file(reading(file)));
  first->reset();
  EXPECT_TRUE(open_raw_file(writing(file)));
}

TEST(FileLock, ManyReadersAndNoWriterBesideThem) {
  const ScratchFile file("/var/tmp", 1 << 20);
  const auto first = open_raw_file(reading(file));
  ASSERT_TRUE(first);
  const auto second = open_raw_file(reading(file));
  ASSERT_TRUE(second);
  EXPECT_FALSE(open_raw_file(writing(file)));
}

TEST(FileLock, NamesTheProcessThatHoldsIt) {
  const ScratchFile file("/var/tmp", 1 << 20);
  std::array<int, 2> ready{};
  ASSERT_EQ(::pipe(ready.data()), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const UniqueFd fd(::open(file.path().c_str(), O_RDWR | O_CLOEXEC));
    const auto lock = FileLock::take(fd.get(), file.path(), LockKind::kExclusive, LockNeed::kMust);
    const bool locked = lock.has_value();
    [[maybe_unused]] const auto written = ::write(ready[1], locked ? "y" : "n", 1);
    ::pause();
    ::_exit(0);
  }
  char locked = 0;
  ASSERT_EQ(::read(ready[0], &locked, 1), 1);
  ASSERT_EQ(locked, 'y');
  const auto opened = open_raw_file(writing(file));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message, HasSubstr("(pid " + std::to_string(child) + ")"));
  // The lock went with the process.
  EXPECT_TRUE(open_raw_file(writing(file)));
}

TEST(FileLock, SeesTheOlderKindOfLock) {
  const ScratchFile file("/var/tmp", 1 << 20);
  const UniqueFd fd(::open(file.path().c_str(), O_RDWR | O_CLOEXEC));
  struct flock range {};
  range.l_type = F_WRLCK;
  range.l_whence = SEEK_SET;
  ASSERT_EQ(::fcntl(fd.get(), F_SETLK, &range), 0);
  EXPECT_FALSE(open_raw_file(writing(file)));
}

/// What another program locks, byte by byte: QEMU's image locking. Shared locks, of an open file
/// description of its own.
class OtherProgram {
 public:
  OtherProgram(const ScratchFile& file, std::initializer_list<off_t> bytes)
      : fd_(::open(file.path().c_str(), O_RDWR | O_CLOEXEC)) {
    for (const off_t byte : bytes) {
      struct flock range {};
      range.l_type = F_RDLCK;
      range.l_whence = SEEK_SET;
      range.l_start = byte;
      range.l_len = 1;
      EXPECT_EQ(::fcntl(fd_.get(), F_OFD_SETLK, &range), 0);
    }
  }
  /// Whether another process has a lock on the byte.
  [[nodiscard]] bool sees(off_t byte) const {
    struct flock range {};
    range.l_type = F_WRLCK;
    range.l_whence = SEEK_SET;
    range.l_start = byte;
    range.l_len = 1;
    EXPECT_EQ(::fcntl(fd_.get(), F_OFD_GETLK, &range), 0);
    return range.l_type != F_UNLCK;
  }

 private:
  UniqueFd fd_;
};

constexpr off_t kQemuReads = 100;
constexpr off_t kQemuWrites = 101;
constexpr off_t kQemuResizes = 103;
constexpr off_t kQemuLetsNobodyRead = 200;
constexpr off_t kQemuLetsNobodyWrite = 201;
constexpr off_t kQemuLetsNobodyResize = 203;

TEST(FileLock, WhatQemuLocksIsRespected) {
  const struct {
    std::initializer_list<off_t> bytes;
    bool we_may_read;
    bool we_may_write;
  } cases[] = {
      {{}, true, true},
      // A disk of a machine, and one that is readonly there.
      {{kQemuReads, kQemuWrites, kQemuLetsNobodyWrite, kQemuLetsNobodyResize}, false, false},
      {{kQemuReads, kQemuLetsNobodyWrite, kQemuLetsNobodyResize}, true, false},
      // share-rw=on
      {{kQemuReads, kQemuWrites}, false, false},
      {{kQemuReads}, true, true},
      {{kQemuLetsNobodyRead}, false, false},
      {{kQemuResizes}, true, true},
  };
  for (const auto& one : cases) {
    const ScratchFile file("/var/tmp", 1 << 20);
    const OtherProgram qemu(file, one.bytes);
    EXPECT_EQ(open_raw_file(reading(file)).has_value(), one.we_may_read) << &one - cases;
    EXPECT_EQ(open_raw_file(writing(file)).has_value(), one.we_may_write) << &one - cases;
  }
}

TEST(FileLock, LocksWhatQemuLooksAt) {
  const ScratchFile file("/var/tmp", 1 << 20);
  const OtherProgram qemu(file, {});
  {
    const auto disk = open_raw_file(writing(file));
    ASSERT_TRUE(disk) << disk.error().message;
    for (const off_t byte : {kQemuReads, kQemuWrites, kQemuLetsNobodyWrite}) {
      EXPECT_TRUE(qemu.sees(byte)) << byte;
    }
    EXPECT_FALSE(qemu.sees(kQemuLetsNobodyRead));
  }
  const auto disk = open_raw_file(reading(file));
  ASSERT_TRUE(disk) << disk.error().message;
  EXPECT_TRUE(qemu.sees(kQemuReads));
  EXPECT_TRUE(qemu.sees(kQemuLetsNobodyWrite));
  EXPECT_FALSE(qemu.sees(kQemuWrites));
  EXPECT_FALSE(qemu.sees(kQemuLetsNobodyRead));
}

TEST(FileLock, IsLeftOutWhereTheUserSaysSo) {
  const ScratchFile file("/var/tmp", 1 << 20);
  const OtherProgram qemu(file, {kQemuReads, kQemuWrites, kQemuLetsNobodyWrite});
  auto source = writing(file);
  source.locking = Locking::kOn;
  EXPECT_FALSE(open_raw_file(source));
  source.locking = Locking::kOff;
  EXPECT_TRUE(open_raw_file(source));
}

TEST(FileLock, ARefusedLockLeavesNone) {
  const ScratchFile file("/var/tmp", 1 << 20);
  const OtherProgram qemu(file, {kQemuReads, kQemuLetsNobodyWrite});
  const UniqueFd fd(::open(file.path().c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_FALSE(FileLock::take(fd.get(), "x", LockKind::kExclusive, LockNeed::kMust));
  const OtherProgram third(file, {});
  EXPECT_FALSE(third.sees(kQemuWrites));
}

/// QEMU with the file as its disk, its processor stopped.
class Qemu {
 public:
  explicit Qemu(const std::string& file, const std::string& more = "") {
    const std::string drive = "file=" + file + ",format=raw,if=virtio" + more;
    pid_ = ::fork();
    if (pid_ != 0) return;
    const int null = ::open("/dev/null", O_RDWR);
    for (const int fd : {0, 1, 2}) ::dup2(null, fd);
    ::execlp("qemu-system-x86_64", "qemu-system-x86_64", "-accel", "tcg", "-S", "-nodefaults",
             "-display", "none", "-drive", drive.c_str(), nullptr);
    ::_exit(127);
  }
  ~Qemu() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Qemu(const Qemu&) = delete;
  Qemu& operator=(const Qemu&) = delete;

  /// Its exit status, or -1 as soon as `until` holds.
  int wait(const std::function<bool()>& until) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < deadline) {
      int status = 0;
      if (::waitpid(pid_, &status, WNOHANG) == pid_) {
        pid_ = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
      }
      if (until()) return -1;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    ADD_FAILURE() << "QEMU neither ends nor locks";
    return -1;
  }

 private:
  pid_t pid_ = 0;
};

TEST(FileLock, QemuAndWeSeeEachOther) {
  constexpr int kMissing = 127;
  const ScratchFile file("/var/tmp", 1 << 20);
  const OtherProgram looker(file, {});
  {
    Qemu qemu(file.path());
    const int status = qemu.wait([&] { return looker.sees(kQemuWrites); });
    if (status == kMissing) GTEST_SKIP() << "qemu-system-x86_64 is not installed";
    ASSERT_EQ(status, -1);
    const auto refused = open_raw_file(reading(file));
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, HasSubstr("in use by qemu-system"));
    EXPECT_FALSE(open_raw_file(writing(file)));
  }
  const auto ours = open_raw_file(writing(file));
  ASSERT_TRUE(ours) << ours.error().message;
  const auto never = [] { return false; };
  EXPECT_EQ(Qemu(file.path()).wait(never), 1);
  EXPECT_EQ(Qemu(file.path(), ",readonly=on").wait(never), 1);
}

// The kernel may keep a file that was registered in a ring open for longer than we do.
TEST(FileLock, GoesWithTheBackEndAtOnce) {
  const ScratchFile file("/var/tmp", 1 << 20);
  for (const auto sharing : {QueueSharing::kLoopOnly, QueueSharing::kSharedWithVcpu}) {
    for (int i = 0; i < 20; ++i) {
      auto config = writing(file);
      config.aio = Aio::kIoUring;
      const auto backend = open_raw_file(config);
      ASSERT_TRUE(backend) << backend.error().message;
      const auto kind =
          EventLoop::create(LoopKind::kIoUring) ? LoopKind::kIoUring : LoopKind::kEpoll;
      QueueFixture fixture(**backend, kind, sharing);
      const Pages memory(4096);
      TestIo io;
      io.set(BlockOp::kWrite, 0, {memory.span(0, 4096)});
      EXPECT_EQ(fixture.run(io), 0);
    }
  }
}

}  // namespace
}  // namespace bellhop
