// Row 25 of the list of bad inputs, step by step: what becomes of a system call's answer.
#include "block/transfer.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <optional>

#include "block/block_fixture.h"

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
    io_.set(BlockOp::kRead, 8192, {memory_.span(0, 4096), memory_.span(4096, 4096)});
    EXPECT_FALSE(begin_transfer(io_, *disk_)) << "it lies well";
  }
  ~TransferTest() override { end_transfer(io_, pool_); }

  Pages memory_{8192};
  TestIo io_;

 private:
  ScratchFile file_{"/var/tmp", 1 << 20};
  std::optional<DiskFile> disk_;
  BouncePool pool_;
};

TEST_F(TransferTest, AsksAgainAfterAnInterruption) {
  for (const int again : {-EINTR, -EAGAIN, -ECANCELED}) {
    EXPECT_EQ(advance(io_, again), TransferState::kMore);
    const TransferStep step = next_step(io_);
    EXPECT_EQ(step.offset, 8192U) << "nothing was moved: the same step once more";
    EXPECT_EQ(step.count, 2U);
  }
  EXPECT_EQ(advance(io_, 8192), TransferState::kDone);
  EXPECT_EQ(io_.scratch.error, 0);
}

TEST_F(TransferTest, InterruptionsHaveAnEnd) {
  unsigned asked = 0;
  while (advance(io_, -EINTR) == TransferState::kMore) ASSERT_LT(++asked, 10'000U) << "hangs";
  EXPECT_GT(asked, 10U);
  EXPECT_EQ(io_.scratch.error, -EIO);
}

TEST_F(TransferTest, GoesOnWhereAShortTransferEnded) {
  EXPECT_EQ(advance(io_, 1000), TransferState::kMore);
  TransferStep step = next_step(io_);
  EXPECT_EQ(step.offset, 8192U + 1000);
  EXPECT_EQ(step.count, 0U);
  EXPECT_EQ(step.single.iov_base, memory_.bytes().data() + 1000);
  EXPECT_EQ(step.single.iov_len, 3096U) << "the rest of the piece in which it ended";
  EXPECT_EQ(advance(io_, -EINTR), TransferState::kMore);
  EXPECT_EQ(next_step(io_).offset, 8192U + 1000) << "and an interruption forgets nothing";
  EXPECT_EQ(advance(io_, 3096), TransferState::kMore);
  step = next_step(io_);
  EXPECT_EQ(step.offset, 8192U + 4096);
  EXPECT_EQ(step.single.iov_len, 4096U);
  EXPECT_EQ(advance(io_, 4096), TransferState::kDone);
  EXPECT_EQ(io_.scratch.error, 0);
}

TEST_F(TransferTest, PassesTheHostsErrorOn) {
  EXPECT_EQ(advance(io_, 4096), TransferState::kMore);
  EXPECT_EQ(advance(io_, -ENOSPC), TransferState::kDone);
  EXPECT_EQ(io_.scratch.error, -ENOSPC);
}

TEST_F(TransferTest, NothingMovedIsTheEndOfATruncatedFile) {
  EXPECT_EQ(advance(io_, 0), TransferState::kDone);
  EXPECT_EQ(io_.scratch.error, -EIO);
}

}  // namespace
}  // namespace bellhop
