#include "block/joint_io.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "block/block_fixture.h"

namespace bellhop {
namespace {

constexpr std::size_t kBlock = 4096;

struct JointPoolTest : ::testing::Test {
  TestIo& add(BlockOp op, std::uint64_t offset, std::size_t spans = 1) {
    auto& io = *ios.emplace_back(std::make_unique<TestIo>());
    std::vector<GuestSpan> where;
    for (std::size_t i = 0; i < spans; ++i) where.push_back(memory.span(i * kBlock, kBlock));
    io.set(op, offset, std::move(where));
    list.push(io);
    return io;
  }
  /// Offsets and lengths of what is in the list after joining.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> joined() {
    made = pool.join(list);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> all;
    while (BlockIo* const io = list.pop()) {
      all.emplace_back(io->offset, io->length);
      EXPECT_EQ(io->length, total_bytes(io->data));
    }
    return all;
  }
  using Runs = std::vector<std::pair<std::uint64_t, std::uint64_t>>;

  Pages memory{64 * kBlock};
  std::vector<std::unique_ptr<TestIo>> ios;
  IoList list;
  JointPool pool{nullptr, nullptr};
  unsigned made = 0;
};

TEST_F(JointPoolTest, NeighboursBecomeOne) {
  for (std::uint64_t i = 0; i < 4; ++i) add(BlockOp::kRead, i * kBlock);
  EXPECT_EQ(joined(), (Runs{{0, 4 * kBlock}}));
  EXPECT_EQ(made, 1U);
}

TEST_F(JointPoolTest, OrderAndGapsStay) {
  add(BlockOp::kRead, 8 * kBlock);
  add(BlockOp::kRead, 0);
  add(BlockOp::kRead, kBlock);
  add(BlockOp::kWrite, 2 * kBlock);
  add(BlockOp::kWrite, 3 * kBlock);
  add(BlockOp::kFlush, 4 * kBlock, 0);
  add(BlockOp::kWrite, 4 * kBlock);
  EXPECT_EQ(joined(), (Runs{{8 * kBlock, kBlock},
                            {0, 2 * kBlock},
                            {2 * kBlock, 2 * kBlock},
                            {4 * kBlock, 0},
                            {4 * kBlock, kBlock}}));
  EXPECT_EQ(made, 2U);
}

TEST_F(JointPoolTest, WhatIsUnderWayStaysAlone) {
  add(BlockOp::kRead, 0);
  add(BlockOp::kRead, kBlock).scratch.alone = true;
  add(BlockOp::kRead, 2 * kBlock).scratch.progress = 512;
  add(BlockOp::kRead, 3 * kBlock).scratch.bounce = memory.bytes().data();
  add(BlockOp::kRead, 4 * kBlock);
  EXPECT_EQ(joined().size(), 5U);
  EXPECT_EQ(made, 0U);
}

TEST_F(JointPoolTest, BytesAreLimited) {
  for (std::uint64_t i = 0; i < 3; ++i) add(BlockOp::kRead, i * 48 * kBlock, 48);  // 192 KiB each
  EXPECT_EQ(joined().size(), 3U);
  for (std::uint64_t i = 0; i < 70; ++i) add(BlockOp::kWrite, i * kBlock);
  EXPECT_EQ(joined(), (Runs{{0, 64 * kBlock}, {64 * kBlock, 6 * kBlock}}));
}

// Sectors: so many that their number is the limit, long before their bytes are.
TEST_F(JointPoolTest, PiecesAreLimitedByTheirNumber) {
  constexpr std::size_t kSector = 512;
  const auto add_sector = [&](std::uint64_t sector, std::size_t spans) {
    auto& io = *ios.emplace_back(std::make_unique<TestIo>());
    std::vector<GuestSpan> where;
    for (std::size_t i = 0; i < spans; ++i) where.push_back(memory.span(i * kSector, kSector));
    io.set(BlockOp::kWrite, sector * kSector, std::move(where));
    list.push(io);
  };
  for (std::uint64_t i = 0; i < 65; ++i) add_sector(i, 1);
  EXPECT_EQ(joined(), (Runs{{0, 64 * kSector}, {64 * kSector, kSector}}));
  // One that has two pieces where there is room for one.
  for (std::uint64_t i = 0; i < 63; ++i) add_sector(i, 1);
  add_sector(63, 2);
  EXPECT_EQ(joined(), (Runs{{0, 63 * kSector}, {63 * kSector, 2 * kSector}}));
  // One that fills a request by itself is left as it is.
  add_sector(0, 64);
  add_sector(64, 1);
  EXPECT_EQ(joined(), (Runs{{0, 64 * kSector}, {64 * kSector, kSector}}));
  EXPECT_EQ(made, 0U);
}

TEST_F(JointPoolTest, TheEngineMaySetALowerLimit) {
  for (std::uint64_t i = 0; i < 5; ++i) add(BlockOp::kRead, i * kBlock);
  EXPECT_EQ(pool.join(list, 2 * kBlock), 2U);
}

TEST_F(JointPoolTest, WithoutRoomNothingIsJoined) {
  // Pairs, each with a gap behind it: more than the pool has joints.
  for (std::uint64_t i = 0; i < 40; ++i) {
    add(BlockOp::kRead, 3 * i * kBlock);
    add(BlockOp::kRead, (3 * i + 1) * kBlock);
  }
  EXPECT_EQ(joined().size(), 32U + 16U);
  EXPECT_EQ(made, 32U);
}

struct Case {
  Aio aio;
  Cache cache;
  const char* folder;
};

class JointRequests : public ::testing::TestWithParam<Case> {
 protected:
  static constexpr std::size_t kCount = 16;
  void SetUp() override {
    auto opened = open_raw_file({file.path(), false, GetParam().cache, GetParam().aio});
    if (!opened) GTEST_SKIP() << opened.error().message;
    backend = std::move(*opened);
    fixture =
        std::make_unique<QueueFixture>(*backend, LoopKind::kEpoll, QueueSharing::kLoopOnly, kCount);
  }
  void run_all(BlockOp op) {
    for (std::size_t i = 0; i < kCount; ++i) {
      ios[i].set(op, i * kBlock, {memory.span(i * kBlock, kBlock)});
      fixture->queue().enqueue(ios[i]);
    }
    fixture->queue().submit();
    EXPECT_TRUE(fixture->run_until(
        [&] { return std::ranges::all_of(ios, [](const TestIo& io) { return io.finished; }); }));
  }

  ScratchFile file{GetParam().folder, kCount* kBlock};
  Pages memory{kCount * kBlock};
  std::array<TestIo, kCount> ios;
  std::unique_ptr<BlockBackend> backend;
  std::unique_ptr<QueueFixture> fixture;
};

TEST_P(JointRequests, EachPartHasItsOwnData) {
  for (std::size_t i = 0; i < kCount; ++i) {
    memory.span(i * kBlock, kBlock).fill(static_cast<std::byte>(i + 1));
  }
  const std::uint64_t before = fixture->queue().system_calls();
  run_all(BlockOp::kWrite);
  // One request and its completion; on a file system in memory, one for each four.
  EXPECT_LE(fixture->queue().system_calls() - before, in_memory(GetParam().folder) ? 4U : 2U);
  memory.span(0, kCount * kBlock).fill(std::byte{0});
  run_all(BlockOp::kRead);
  for (std::size_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(ios[i].error, 0);
    EXPECT_EQ(memory.bytes()[i * kBlock + 17], static_cast<std::byte>(i + 1)) << i;
  }
}

// The file is cut in the middle of the run: those before the cut succeed, those behind it fail.
TEST_P(JointRequests, OnlyThePartThatFailsFails) {
  ASSERT_EQ(::truncate(file.path().c_str(), 5 * kBlock), 0);
  run_all(BlockOp::kRead);
  for (std::size_t i = 0; i < kCount; ++i) EXPECT_EQ(ios[i].error, i < 5 ? 0 : -EIO) << i;
}

INSTANTIATE_TEST_SUITE_P(Engines, JointRequests,
                         ::testing::Values(Case{Aio::kIoUring, Cache::kWriteback, kDiskFolder},
                                           Case{Aio::kNative, Cache::kNone, kDiskFolder},
                                           Case{Aio::kThreads, Cache::kWriteback, kDiskFolder},
                                           Case{Aio::kNative, Cache::kNone, kMemoryFolder}),
                         [](const auto& which) {
                           return name_of(which.param.aio, which.param.cache) +
                                  (which.param.folder == kDiskFolder ? "_disk" : "_memory");
                         });

}  // namespace
}  // namespace bellhop
