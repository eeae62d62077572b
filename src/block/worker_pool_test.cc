#include "block/worker_pool.h"

#include <gtest/gtest.h>

#include <array>

#include "block/block_fixture.h"

namespace bellhop {
namespace {

TEST(CompletionChannel, GivesFirstWhatWasDoneFirstAndSignalsOnce) {
  auto event = EventFd::create();
  ASSERT_TRUE(event) << event.error().message;
  CompletionChannel channel(*event);
  std::array<TestIo, 3> ios;
  for (int round = 0; round < 2; ++round) {
    EXPECT_TRUE(channel.drain().empty());
    EXPECT_EQ(event->consume(), 0U);
    for (TestIo& io : ios) channel.push(io);
    EXPECT_EQ(event->consume(), 1U) << "for the first of them";
    IoList done = channel.drain();
    for (TestIo& io : ios) EXPECT_EQ(done.pop(), &io);
    EXPECT_TRUE(done.empty());
  }
}

}  // namespace
}  // namespace bellhop
