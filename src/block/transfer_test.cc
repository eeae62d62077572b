// Row 25 of the list of bad inputs, step by step: what becomes of a system call's answer.
#include "block/transfer.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <optional>

#include "block/block_test_bench.h"

namespace bellhop {
namespace {

class TransferTest : public ::testing::Test {
 protected:
  TransferTest() {
    auto opened = DiskFile::open({.path = file_.path(),
                                  .read_only = false,
                                  .cache = Cache::kWriteback,
                                  .aio = Aio::kThreads});
    EXPECT_TRUE(opened) << opened.error().message;
    if (opened) disk_.emplace(std::move(*opened));
    io.set(BlockOp::kRead, 8192, {memory.span(0, 4096), memory.span(4096, 4096)});
    EXPECT_TRUE(begin_transfer(io, *disk_, pool_));
  }
  ~TransferTest() override { end_transfer(io, pool_); }

  Pages memory{8192};
  TestIo io;

 private:
  ScratchFile file_{"/tmp", 1 << 20};
  std::optional<DiskFile> disk_;
  BouncePool pool_;
};

TEST_F(TransferTest, AsksAgainAfterAnInterruption) {
  for (const int again : {-EINTR, -EAGAIN, -EINTR}) {
    EXPECT_EQ(advance(io, again), TransferState::kMore);
    const TransferStep step = next_step(io);
    EXPECT_EQ(step.offset, 8192U) << "nothing was moved: the same step once more";
    EXPECT_EQ(step.count, 2U);
  }
  EXPECT_EQ(advance(io, 8192), TransferState::kDone);
  EXPECT_EQ(io.scratch.error, 0);
}

TEST_F(TransferTest, InterruptionsHaveAnEnd) {
  unsigned asked = 0;
  while (advance(io, -EINTR) == TransferState::kMore) ASSERT_LT(++asked, 10'000U) << "hangs";
  EXPECT_GT(asked, 10U);
  EXPECT_EQ(io.scratch.error, -EIO);
}

TEST_F(TransferTest, GoesOnWhereAShortTransferEnded) {
  EXPECT_EQ(advance(io, 1000), TransferState::kMore);
  TransferStep step = next_step(io);
  EXPECT_EQ(step.offset, 8192U + 1000);
  EXPECT_EQ(step.count, 0U);
  EXPECT_EQ(step.single.iov_base, memory.bytes().data() + 1000);
  EXPECT_EQ(step.single.iov_len, 3096U) << "the rest of the piece in which it ended";
  EXPECT_EQ(advance(io, -EINTR), TransferState::kMore);
  EXPECT_EQ(next_step(io).offset, 8192U + 1000) << "and an interruption forgets nothing";
  EXPECT_EQ(advance(io, 3096), TransferState::kMore);
  step = next_step(io);
  EXPECT_EQ(step.offset, 8192U + 4096);
  EXPECT_EQ(step.single.iov_len, 4096U);
  EXPECT_EQ(advance(io, 4096), TransferState::kDone);
  EXPECT_EQ(io.scratch.error, 0);
}

TEST_F(TransferTest, PassesTheHostsErrorOn) {
  EXPECT_EQ(advance(io, 4096), TransferState::kMore);
  EXPECT_EQ(advance(io, -ENOSPC), TransferState::kDone);
  EXPECT_EQ(io.scratch.error, -ENOSPC);
}

TEST_F(TransferTest, NothingMovedIsTheEndOfATruncatedFile) {
  EXPECT_EQ(advance(io, 0), TransferState::kDone);
  EXPECT_EQ(io.scratch.error, -EIO);
}

}  // namespace
}  // namespace bellhop
