#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "block/block_backend.h"
#include "block/raw_file.h"
#include "event/event_loop.h"

namespace bellhop {

/// For the tests of this room: page-aligned memory in the part of the guest's.
class Pages {
 public:
  explicit Pages(std::size_t bytes)
      : size_(bytes),
        data_(static_cast<std::byte*>(std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096))) {}
  [[nodiscard]] GuestSpan span(std::size_t offset, std::size_t length) const {
    return GuestSpan(data_.get() + offset, length);
  }
  [[nodiscard]] std::span<std::byte> bytes() const { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* data) const noexcept { std::free(data); }
  };
  std::size_t size_;
  std::unique_ptr<std::byte, Free> data_;
};

/// Where a file lies on a disk: /tmp is a file system in memory on many hosts, /var/tmp is kept
/// over a reboot (FHS 3.0, 5.15).
inline constexpr const char* kDiskFolder = "/var/tmp";
inline constexpr const char* kMemoryFolder = "/dev/shm";

/// Whether files of `folder` are in memory alone: asked of the host, whatever the folder is called.
[[nodiscard]] inline bool in_memory(const char* folder) {
  struct statfs about {};
  EXPECT_EQ(::statfs(folder, &about), 0) << folder;
  return about.f_type == TMPFS_MAGIC || about.f_type == RAMFS_MAGIC;
}

/// For the names of tests.
[[nodiscard]] inline std::string name_of(Aio aio, Cache cache) {
  const char* const name = aio == Aio::kIoUring  ? "io_uring"
                           : aio == Aio::kNative ? "native"
                                                 : "threads";
  return std::string(name) + (cache == Cache::kNone ? "_none" : "_writeback");
}

/// A file that goes with the test.
class ScratchFile {
 public:
  ScratchFile(const std::string& folder, std::uint64_t bytes)
      : path_(folder + "/bellhop-test-XXXXXX") {
    const UniqueFd fd(::mkstemp(path_.data()));
    EXPECT_TRUE(fd.valid()) << path_;
    EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(bytes)), 0);
  }
  ~ScratchFile() { ::unlink(path_.c_str()); }
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// A tmpfs of a few kilobytes; has no path where this host lets us mount nothing.
class SmallFileSystem {
 public:
  explicit SmallFileSystem(std::uint64_t bytes) : path_("/var/tmp/bellhop-small-XXXXXX") {
    EXPECT_NE(::mkdtemp(path_.data()), nullptr);
    if (::mount("none", path_.c_str(), "tmpfs", 0, ("size=" + std::to_string(bytes)).c_str()) !=
        0) {
      ::rmdir(path_.c_str());
      path_.clear();
    }
  }
  ~SmallFileSystem() {
    if (path_.empty()) return;
    // Lazily: a loop device may let go of its file a little later.
    EXPECT_EQ(::umount2(path_.c_str(), MNT_DETACH), 0);
    ::rmdir(path_.c_str());
  }
  SmallFileSystem(const SmallFileSystem&) = delete;
  SmallFileSystem& operator=(const SmallFileSystem&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// A request that remembers how it ended.
struct TestIo : BlockIo {
  std::vector<GuestSpan> spans;
  bool finished = false;
  int error = 0;
  std::function<void()> then;

  TestIo() {
    completed = [](BlockIo& io, int result) noexcept {
      auto& self = static_cast<TestIo&>(io);
      EXPECT_FALSE(self.finished) << "completed twice";
      self.finished = true;
      self.error = result;
      if (self.then) self.then();
    };
  }
  void set(BlockOp kind, std::uint64_t at, std::vector<GuestSpan> where) {
    op = kind;
    offset = at;
    spans = std::move(where);
    data = spans;
    length = total_bytes(data);
    finished = false;
  }
  void set_range(BlockOp kind, std::uint64_t at, std::uint64_t bytes) {
    set(kind, at, std::vector<GuestSpan>());
    length = bytes;
  }
};

/// A queue with its loop, and a watch on its completions where the owner has to keep one.
class QueueFixture final : private EventHandler {
 public:
  QueueFixture(BlockBackend& backend, LoopKind kind, QueueSharing sharing, unsigned depth = 64) {
    auto made_loop = EventLoop::create(kind);
    EXPECT_TRUE(made_loop) << made_loop.error().message;
    loop_ = std::move(*made_loop);
    auto made = backend.make_queue(*loop_, sharing, depth);
    EXPECT_TRUE(made) << made.error().message;
    queue_ = std::move(*made);
    if (const EventFd* const event = queue_->completion_event()) {
      EXPECT_TRUE(loop_->watch(*event, *this));
    }
  }
  ~QueueFixture() {
    if (const EventFd* const event = queue_->completion_event()) loop_->unwatch(*event);
    queue_.reset();
  }
  [[nodiscard]] EventLoop& loop() { return *loop_; }
  [[nodiscard]] BlockQueue& queue() { return *queue_; }
  [[nodiscard]] std::uint64_t wake_ups() const { return wake_ups_; }

  /// Runs the loop until `done` or some seconds have passed.
  [[nodiscard]] bool run_until(const std::function<bool()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!done()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      loop_->run_once(std::chrono::milliseconds(100));
    }
    return true;
  }
  /// Does one request and returns how it ended.
  int run(TestIo& io) {
    queue_->enqueue(io);
    queue_->submit();
    EXPECT_TRUE(run_until([&] { return io.finished; })) << "hangs";
    return io.error;
  }

 private:
  void on_event(std::uint64_t) noexcept override {
    ++wake_ups_;
    queue_->reap();
  }

  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<BlockQueue> queue_;
  std::uint64_t wake_ups_ = 0;
};

}  // namespace bellhop
