#include "block/uring_queue.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <bit>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include "block/block_fixture.h"
#include "testing/eventually.h"

namespace bellhop {
namespace {

/// The ring of an io_uring, as this process sees it. After guard() the next write into it waits
/// until the kernel has written something there.
class GuardedRing {
 public:
  /// Of the only one that there is.
  GuardedRing() {
    std::ifstream maps("/proc/self/maps");
    unsigned found = 0;
    for (std::string line; std::getline(maps, line);) {
      // At another offset lie the requests.
      if (line.find("[io_uring]") == std::string::npos) continue;
      if (line.find(" 00000000 ") == std::string::npos) continue;
      ++found;
      std::size_t length = 0;
      const std::uint64_t begin = std::stoull(line, &length, 16);
      const std::uint64_t end = std::stoull(line.substr(length + 1), nullptr, 16);
      ring_ = {std::bit_cast<std::byte*>(begin), end - begin};
    }
    if (found != 1) ring_ = {};
    seen_.resize(ring_.size());
    current = this;
    struct sigaction action {};
    action.sa_sigaction = &on_write;
    action.sa_flags = SA_SIGINFO;
    EXPECT_EQ(::sigaction(SIGSEGV, &action, &before_), 0);
  }
  ~GuardedRing() {
    EXPECT_EQ(::sigaction(SIGSEGV, &before_, nullptr), 0);
    current = nullptr;
  }
  GuardedRing(const GuardedRing&) = delete;
  GuardedRing& operator=(const GuardedRing&) = delete;

  [[nodiscard]] bool found() const { return !ring_.empty(); }
  void guard() { EXPECT_EQ(::mprotect(ring_.data(), ring_.size(), PROT_READ), 0); }
  /// Writes before which the kernel has written something.
  [[nodiscard]] unsigned overtaken() const { return overtaken_; }
  /// Writes that have waited for nothing: it had ended already.
  [[nodiscard]] unsigned in_vain() const { return in_vain_; }

 private:
  static void on_write(int, siginfo_t* info, void*) noexcept {
    GuardedRing& self = *current;
    const auto* const at = static_cast<const std::byte*>(info->si_addr);
    if (at < self.ring_.data() || at >= self.ring_.data() + self.ring_.size()) std::abort();
    std::memcpy(self.seen_.data(), self.ring_.data(), self.seen_.size());
    const auto changed = [&] {
      return std::memcmp(self.seen_.data(), self.ring_.data(), self.seen_.size()) != 0;
    };
    ++(testing::eventually(changed, std::chrono::seconds(1)) ? self.overtaken_ : self.in_vain_);
    (void)::mprotect(self.ring_.data(), self.ring_.size(), PROT_READ | PROT_WRITE);
  }

  static inline GuardedRing* current = nullptr;
  std::span<std::byte> ring_;
  std::vector<std::byte> seen_;
  struct sigaction before_ {};
  std::atomic<unsigned> overtaken_{0};
  std::atomic<unsigned> in_vain_{0};
};

// A flush ends between the look at the completions and the write that switches their signal on
// again. It was handed over by a completion, when nobody looks once more; and together with a read
// of what the host's memory has, which ends at once, so that this moment can be told.
TEST(UringQueue, WhatEndsBeforeItsSignalIsOnAgainIsHeard) {
  if (!EventLoop::create(LoopKind::kIoUring)) GTEST_SKIP() << "this host forbids io_uring";
  if (in_memory(kDiskFolder)) GTEST_SKIP() << "there are no engines for files in memory";
  const ScratchFile file(kDiskFolder, 1 << 20);
  const auto backend = open_raw_file(
      {.path = file.path(), .read_only = false, .cache = Cache::kWriteback, .aio = Aio::kIoUring});
  ASSERT_TRUE(backend) << backend.error().message;
  QueueFixture fixture(**backend, LoopKind::kEpoll, QueueSharing::kSharedWithVcpu);
  const Pages memory(4096);
  TestIo read;
  read.set(BlockOp::kRead, 0, {memory.span(0, 4096)});
  ASSERT_EQ(fixture.run(read), 0);
  GuardedRing ring;
  if (!ring.found()) GTEST_SKIP() << "it cannot be seen where the ring is";
  TestIo first;
  auto flush = std::make_unique<TestIo>();
  first.then = [&] {
    flush->set_range(BlockOp::kFlush, 0, 0);
    read.set(BlockOp::kRead, 0, {memory.span(0, 4096)});
    fixture.queue().enqueue(*flush);
    fixture.queue().enqueue(read);
  };
  read.then = [&] {
    if (!flush->finished) ring.guard();
  };
  for (int round = 0; round < 50 && ring.overtaken() < 5 && ring.in_vain() == 0; ++round) {
    flush->finished = read.finished = false;
    first.set_range(BlockOp::kFlush, 0, 0);
    fixture.queue().enqueue(first);
    fixture.queue().submit();
    if (!fixture.run_until([&] { return flush->finished && read.finished; })) {
      (void)flush.release();  // it is the queue's for ever
      FAIL() << "the flush of round " << round << " has ended unheard";
    }
    // A signal for what was seen already must not be the next one's.
    fixture.loop().run_once(std::chrono::nanoseconds(0));
  }
}

}  // namespace
}  // namespace bellhop
