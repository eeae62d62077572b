// More requests that need a bounce buffer than there are buffers.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "block/block_fixture.h"
#include "block/transfer.h"

namespace bellhop {
namespace {

TEST(BouncePool, LendsNoMoreThanItsBound) {
  BouncePool pool;
  std::vector<void*> taken;
  while (void* const buffer = pool.take()) {
    taken.push_back(buffer);
    ASSERT_LE(taken.size(), BouncePool::kMaxBuffers);
  }
  EXPECT_EQ(taken.size(), BouncePool::kMaxBuffers);
  EXPECT_EQ(pool.in_use(), BouncePool::kMaxBuffers);
  pool.give_back(taken.back());
  EXPECT_EQ(pool.take(), taken.back());
  for (void* const buffer : taken) pool.give_back(buffer);
  EXPECT_EQ(pool.in_use(), 0U);
}

struct SharedEngine {
  Aio aio;
  QueueSharing sharing;
};

class BounceTest : public ::testing::TestWithParam<SharedEngine> {};

TEST_P(BounceTest, WhoGetsNoBufferWaitsForOne) {
  if (in_memory(kDiskFolder)) GTEST_SKIP() << "files in memory need no buffers";
  constexpr unsigned kRequests = 5 * BouncePool::kMaxBuffers;
  constexpr std::size_t kRequestBytes = 4096;
  const ScratchFile file(kDiskFolder, kRequests * kRequestBytes);
  const auto backend = open_raw_file(
      {.path = file.path(), .read_only = false, .cache = Cache::kNone, .aio = GetParam().aio});
  if (!backend) GTEST_SKIP() << backend.error().message;
  QueueFixture fixture(**backend, LoopKind::kEpoll, GetParam().sharing, kRequests);
  const Pages memory((kRequests + 1) * kRequestBytes);
  std::vector<TestIo> ios(kRequests);
  for (const BlockOp op : {BlockOp::kWrite, BlockOp::kRead}) {
    for (std::size_t i = 0; i < kRequests; ++i) {
      const auto value = static_cast<std::byte>(op == BlockOp::kWrite ? i : 0xff);
      const GuestSpan where = memory.span(i * kRequestBytes + 8, kRequestBytes);
      where.fill(value);
      ios[i].set(op, i * kRequestBytes, {where});
      fixture.queue().enqueue(ios[i]);
    }
    fixture.queue().submit();
    EXPECT_TRUE(fixture.run_until(
        [&] { return std::ranges::all_of(ios, [](const TestIo& io) { return io.finished; }); }));
    for (std::size_t i = 0; i < kRequests; ++i) {
      EXPECT_EQ(ios[i].error, 0) << i;
      EXPECT_EQ(memory.bytes()[i * kRequestBytes + 8], static_cast<std::byte>(i));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, BounceTest,
                         ::testing::Values(SharedEngine{Aio::kIoUring, QueueSharing::kLoopOnly},
                                           SharedEngine{Aio::kIoUring,
                                                        QueueSharing::kSharedWithVcpu},
                                           SharedEngine{Aio::kNative, QueueSharing::kLoopOnly},
                                           SharedEngine{Aio::kThreads, QueueSharing::kLoopOnly}));

}  // namespace
}  // namespace bellhop
