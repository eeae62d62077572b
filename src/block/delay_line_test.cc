#include "block/delay_line.h"

#include <gtest/gtest.h>

#include "block/block_fixture.h"

namespace bellhop {
namespace {

using std::chrono::microseconds;

constexpr DelayLine::Time at(int us) { return DelayLine::Time(microseconds(us)); }

TEST(DelayLine, EndsEachSoLongAfterItsSubmission) {
  DelayLine line(microseconds(50));
  TestIo a;
  TestIo b;
  TestIo c;
  IoList batch;
  batch.push(a);
  batch.push(b);
  EXPECT_FALSE(line.next().has_value());
  line.push(batch, at(100));
  EXPECT_TRUE(batch.empty());
  batch.push(c);
  line.push(batch, at(130));
  EXPECT_EQ(line.next(), at(150));
  EXPECT_EQ(line.pop(at(149)), nullptr);
  EXPECT_EQ(line.pop(at(150)), &a);
  EXPECT_EQ(line.pop(at(150)), &b) << "submitted together, ended together";
  EXPECT_EQ(line.pop(at(150)), nullptr);
  EXPECT_EQ(line.next(), at(180));
  EXPECT_EQ(line.pop(at(500)), &c);
  EXPECT_EQ(line.pop(at(500)), nullptr);
  EXPECT_FALSE(line.next().has_value());
}

/// Of each loop, and as a vCPU shares it.
class DelayedMedium : public ::testing::TestWithParam<std::pair<LoopKind, QueueSharing>> {};

TEST_P(DelayedMedium, AnswersInOrderAndNeverBeforeItsTime) {
  constexpr auto kLatency = std::chrono::milliseconds(3);
  const auto backend = make_null_backend(1 << 20, kLatency);
  QueueFixture fixture(*backend, GetParam().first, GetParam().second);
  std::vector<int> order;
  std::vector<TestIo> ios(3);
  for (std::size_t i = 0; i < ios.size(); ++i) {
    ios[i].set_range(i == 1 ? BlockOp::kFlush : BlockOp::kRead, 0, i == 1 ? 0 : 512);
    ios[i].then = [&order, i] { order.push_back(static_cast<int>(i)); };
    fixture.queue().enqueue(ios[i]);
  }
  const auto begin = std::chrono::steady_clock::now();
  fixture.queue().submit();
  EXPECT_TRUE(order.empty());
  ASSERT_TRUE(fixture.run_until([&] { return order.size() == ios.size(); }));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, kLatency);
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
}

TEST_P(DelayedMedium, TakesWhatIsSubmittedWhileOneEnds) {
  const auto backend = make_null_backend(1 << 20, microseconds(100));
  QueueFixture fixture(*backend, GetParam().first, GetParam().second);
  TestIo write;
  TestIo flush;
  flush.set_range(BlockOp::kFlush, 0, 0);
  write.set_range(BlockOp::kWrite, 0, 512);
  write.then = [&] {
    fixture.queue().enqueue(flush);
    fixture.queue().submit();
    EXPECT_FALSE(flush.finished) << "it takes its time, too";
  };
  EXPECT_EQ(fixture.run(write), 0);
  EXPECT_TRUE(fixture.run_until([&] { return flush.finished; }));
  // Again after it was idle.
  write.then = nullptr;
  write.set_range(BlockOp::kWrite, 0, 512);
  EXPECT_EQ(fixture.run(write), 0);
}

TEST_P(DelayedMedium, WakesAVcpusLoopByATimerOfTheKernel) {
  const auto backend = make_null_backend(1 << 20, microseconds(100));
  QueueFixture fixture(*backend, GetParam().first, GetParam().second);
  const bool shared = GetParam().second == QueueSharing::kSharedWithVcpu;
  EXPECT_EQ(fixture.queue().completion_event() != nullptr, shared);
  std::vector<TestIo> ios(4);
  for (TestIo& io : ios) io.set_range(BlockOp::kRead, 0, 512);
  for (TestIo& io : ios) fixture.queue().enqueue(io);
  fixture.queue().submit();
  EXPECT_EQ(fixture.queue().system_calls(), shared ? 1U : 0U) << "once for a batch";
  ASSERT_TRUE(fixture.run_until([&] { return ios[3].finished; }));
}

// Who submits and reaps may change while nothing is outstanding; what a timer was set for before
// that disturbs nobody.
TEST_P(DelayedMedium, IsTimedByItsLoopWhileThatAloneUsesIt) {
  const auto backend = make_null_backend(1 << 20, microseconds(100));
  QueueFixture fixture(*backend, GetParam().first, GetParam().second);
  const bool shared = GetParam().second == QueueSharing::kSharedWithVcpu;
  std::uint64_t calls = 0;
  for (const bool loop_only : {true, false, true, true, false, false}) {
    fixture.queue().set_loop_only(loop_only || !shared);
    std::vector<TestIo> ios(3);
    for (TestIo& io : ios) io.set_range(BlockOp::kRead, 0, 512);
    for (TestIo& io : ios) fixture.queue().enqueue(io);
    const auto begin = std::chrono::steady_clock::now();
    fixture.queue().submit();
    if (shared && !loop_only) ++calls;
    EXPECT_EQ(fixture.queue().system_calls(), calls);
    ASSERT_TRUE(fixture.run_until([&] { return ios[2].finished; }));
    EXPECT_GE(std::chrono::steady_clock::now() - begin, microseconds(100));
  }
}

// The last of them ends inside submit(): its timer is stopped, and wakes nobody.
TEST_P(DelayedMedium, AskedLateItEndsAllAtOnceAndLeavesNoTimer) {
  constexpr auto kLatency = std::chrono::milliseconds(20);
  const auto backend = make_null_backend(1 << 20, kLatency);
  QueueFixture fixture(*backend, GetParam().first, GetParam().second);
  fixture.queue().set_loop_only(true);
  TestIo io;
  io.set_range(BlockOp::kRead, 0, 512);
  fixture.queue().enqueue(io);
  fixture.queue().submit();
  std::this_thread::sleep_for(kLatency + kLatency);
  fixture.queue().submit();
  EXPECT_TRUE(io.finished);
  fixture.queue().set_loop_only(GetParam().second == QueueSharing::kLoopOnly);
  io.finished = false;
  fixture.queue().enqueue(io);
  fixture.queue().submit();
  ASSERT_TRUE(fixture.run_until([&] { return io.finished; }));
}

INSTANTIATE_TEST_SUITE_P(
    Queues, DelayedMedium,
    ::testing::Values(std::pair{LoopKind::kIoUring, QueueSharing::kLoopOnly},
                      std::pair{LoopKind::kEpoll, QueueSharing::kLoopOnly},
                      std::pair{LoopKind::kIoUring, QueueSharing::kSharedWithVcpu},
                      std::pair{LoopKind::kEpoll, QueueSharing::kSharedWithVcpu}));

}  // namespace
}  // namespace bellhop
