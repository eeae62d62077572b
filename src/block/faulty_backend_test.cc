#include "testing/faulty_backend.h"

#include <gtest/gtest.h>

#include <thread>

#include "block/block_fixture.h"
#include "testing/memory_backend.h"

namespace bellhop {
namespace {

class FaultyBackendTest : public ::testing::TestWithParam<QueueSharing> {
 protected:
  FaultyBackend backend{std::make_unique<MemoryBackend>(1 << 20)};
  QueueFixture fixture{backend, LoopKind::kEpoll, GetParam()};
  Pages memory{std::size_t{4096} * 16};
};

TEST_P(FaultyBackendTest, PassesThroughWhatHasNoFate) {
  TestIo io;
  std::ranges::fill(memory.bytes(), std::byte{7});
  io.set(BlockOp::kWrite, 4096, {memory.span(0, 4096)});
  EXPECT_EQ(fixture.run(io), 0);
  std::ranges::fill(memory.bytes(), std::byte{0});
  io.set(BlockOp::kRead, 4096, {memory.span(0, 4096)});
  EXPECT_EQ(fixture.run(io), 0);
  EXPECT_EQ(memory.bytes()[4095], std::byte{7});
  EXPECT_EQ(memory.bytes()[4096], std::byte{0});
  EXPECT_EQ(backend.submitted(BlockOp::kRead), 1U);
}

TEST_P(FaultyBackendTest, FailsTheNextOfAKind) {
  backend.fail_next(BlockOp::kWrite, -ENOSPC, 2);
  backend.fail_next(BlockOp::kFlush, -EIO);
  TestIo io;
  io.set(BlockOp::kRead, 0, {memory.span(0, 4096)});
  EXPECT_EQ(fixture.run(io), 0);
  io.set(BlockOp::kWrite, 0, {memory.span(0, 4096)});
  EXPECT_EQ(fixture.run(io), -ENOSPC);
  io.set(BlockOp::kWrite, 0, {memory.span(0, 4096)});
  EXPECT_EQ(fixture.run(io), -ENOSPC);
  io.set(BlockOp::kWrite, 0, {memory.span(0, 4096)});
  EXPECT_EQ(fixture.run(io), 0);
  io.set_range(BlockOp::kFlush, 0, 0);
  EXPECT_EQ(fixture.run(io), -EIO);
}

TEST_P(FaultyBackendTest, HoldsUntilReleased) {
  backend.hold();
  std::vector<TestIo> ios(4);
  for (TestIo& io : ios) {
    io.set(BlockOp::kRead, 0, {memory.span(0, 4096)});
    fixture.queue().enqueue(io);
  }
  fixture.queue().submit();
  fixture.loop().run_once(std::chrono::milliseconds(1));
  EXPECT_EQ(backend.held(), 4U);
  backend.release(1);
  EXPECT_TRUE(fixture.run_until([&] { return ios[0].finished; }));
  EXPECT_FALSE(ios[1].finished);
  EXPECT_EQ(backend.held(), 3U);
  backend.fail_next(BlockOp::kRead, -EIO);
  std::thread other([&] { backend.release_all(); });
  EXPECT_TRUE(fixture.run_until([&] { return ios[3].finished; }));
  other.join();
  EXPECT_EQ(ios[1].error, -EIO);
  EXPECT_EQ(ios[2].error, 0);
  EXPECT_EQ(backend.held(), 0U);
  ios[0].set(BlockOp::kRead, 0, {memory.span(0, 4096)});
  EXPECT_EQ(fixture.run(ios[0]), 0);  // and holds no more
}

INSTANTIATE_TEST_SUITE_P(Sharings, FaultyBackendTest,
                         ::testing::Values(QueueSharing::kLoopOnly, QueueSharing::kSharedWithVcpu),
                         [](const auto& which) {
                           return which.param == QueueSharing::kLoopOnly ? "loop" : "shared";
                         });

}  // namespace
}  // namespace bellhop
