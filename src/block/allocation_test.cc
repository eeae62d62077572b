#include <gtest/gtest.h>

#include "block/block_fixture.h"
#include "testing/count_allocations.h"

namespace bellhop {
namespace {

struct Case {
  Aio aio;
  Cache cache;
  LoopKind loop;
  QueueSharing sharing;
  std::size_t shift;  // bytes that the guest's buffers are off
};

constexpr unsigned kDepth = 32;

/// Keeps kDepth requests going until `left` have been done, without allocating itself.
class Driver {
 public:
  Driver(QueueFixture& fixture, const Pages& memory, std::size_t shift) : fixture_(fixture) {
    for (std::size_t i = 0; i < kDepth; ++i) {
      Request& request = requests_[i];
      request.driver = this;
      request.spans[0] = memory.span(i * 8192 + shift, 2048);
      request.spans[1] = memory.span(i * 8192 + shift + 2048, 2048);
      request.data = request.spans;
      request.length = 4096;
      request.completed = [](BlockIo& io, int error) noexcept {
        auto& self = static_cast<Request&>(io);
        EXPECT_EQ(error, 0);
        self.driver->next(self);
      };
    }
  }
  void run(unsigned count) {
    to_start_ = count;
    running_ = 0;
    for (Request& request : requests_) next(request, true);
    fixture_.queue().submit();
    while (running_ != 0) {
      fixture_.loop().run_once(std::chrono::milliseconds(100));
      fixture_.queue().submit();
    }
  }

 private:
  struct Request : BlockIo {
    Driver* driver = nullptr;
    std::array<GuestSpan, 2> spans;
  };
  void next(Request& request, bool first = false) noexcept {
    if (!first) --running_;
    if (to_start_ == 0) return;
    --to_start_;
    ++running_;
    request.op = to_start_ % 3 == 0 ? BlockOp::kWrite : BlockOp::kRead;
    request.offset = std::uint64_t{4096} * (to_start_ % 256);
    fixture_.queue().enqueue(request);
  }

  QueueFixture& fixture_;
  std::array<Request, kDepth> requests_;
  unsigned to_start_ = 0;
  unsigned running_ = 0;
};

class AllocationTest : public ::testing::TestWithParam<Case> {};

TEST_P(AllocationTest, TheDataPathMakesNone) {
  const char* const folder = ::access(kMemoryFolder, W_OK) == 0 ? kMemoryFolder : kDiskFolder;
  // On the disk a bounce buffer is needed; tmpfs is quick.
  const ScratchFile file(GetParam().shift != 0 ? kDiskFolder : folder, 1 << 20);
  const auto backend = open_raw_file({file.path(), false, GetParam().cache, GetParam().aio});
  if (!backend) GTEST_SKIP() << backend.error().message;
  if (!EventLoop::create(GetParam().loop)) GTEST_SKIP() << "this host forbids io_uring";
  QueueFixture fixture(**backend, GetParam().loop, GetParam().sharing, kDepth);
  const Pages memory(std::size_t{8192} * kDepth);
  Driver driver(fixture, memory, GetParam().shift);
  driver.run(1000);  // pools fill, workers start
  const std::uint64_t before = allocations.load();
  driver.run(GetParam().aio == Aio::kThreads || GetParam().shift != 0 ? 5000 : 100000);
  EXPECT_EQ(allocations.load() - before, 0U);
}

INSTANTIATE_TEST_SUITE_P(
    Engines, AllocationTest,
    ::testing::Values(
        Case{Aio::kIoUring, Cache::kNone, LoopKind::kIoUring, QueueSharing::kLoopOnly, 0},
        Case{Aio::kIoUring, Cache::kNone, LoopKind::kIoUring, QueueSharing::kLoopOnly, 8},
        Case{Aio::kIoUring, Cache::kNone, LoopKind::kEpoll, QueueSharing::kSharedWithVcpu, 8},
        Case{Aio::kNative, Cache::kNone, LoopKind::kIoUring, QueueSharing::kLoopOnly, 0},
        Case{Aio::kNative, Cache::kNone, LoopKind::kEpoll, QueueSharing::kLoopOnly, 8},
        Case{Aio::kThreads, Cache::kWriteback, LoopKind::kIoUring, QueueSharing::kLoopOnly, 0},
        Case{Aio::kThreads, Cache::kNone, LoopKind::kEpoll, QueueSharing::kSharedWithVcpu, 8}),
    [](const auto& which) {
      return name_of(which.param.aio, which.param.cache) +
             (which.param.loop == LoopKind::kIoUring ? "_on_uring" : "_on_epoll") +
             (which.param.sharing == QueueSharing::kLoopOnly ? "_loop" : "_shared") +
             (which.param.shift == 0 ? "" : "_shifted");
    });

}  // namespace
}  // namespace bellhop
