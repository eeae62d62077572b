#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <vector>

#include "testing/queue_runner_fixture.h"

namespace bellhop {
namespace {

using testing::eventually;
using testing::must;
using testing::ParkingHandler;
using testing::QueueRunnerTest;

TEST_P(QueueRunnerTest, AHandlerThatParksIsLeftAloneUntilItIsWoken) {
  ParkingHandler parker(*runner);
  park_with_ten(parker);
  ring();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(parker.drains, 1U) << "the loop does not spin on a ring that has chains";
  EXPECT_EQ(runner->counters().chains.get(), 0U);
  ASSERT_TRUE(driver.add({{kData, 8, true}}));
  EXPECT_FALSE(driver.offer()) << "a kick would be spurious";
  thread->run_sync([&] { parker.open(6); });
  EXPECT_TRUE(eventually([&] { return parker.served == 6; }));
  thread->run_sync([&] { parker.open(1000); });
  EXPECT_TRUE(eventually([&] { return parker.served == 11; }));
  // And then it is a queue like others: what is offered is served.
  for (std::uint64_t more = 12; more < 40; ++more) {
    while (driver.reap()) {
    }
    ASSERT_TRUE(driver.add({{kData, 8, true}}));
    if (driver.offer()) ring();
    EXPECT_TRUE(eventually([&] { return parker.served == more; })) << "a kick was lost";
  }
  runner->stop();
}

TEST_P(QueueRunnerTest, AQueueThatParksStopsAndStarts) {
  ParkingHandler parker(*runner);
  park_with_ten(parker);
  for (int i = 0; i < 1000; ++i) {
    const auto ring = runner->stop();
    ASSERT_TRUE(ring.has_value());
    thread->run_sync([&] { parker.open(0); });  // woken while it rests
    start(*ring);
    runner->kick_once();
    thread->loop().post([&] { parker.open(0); });
  }
  thread->run_sync([&] { parker.open(10); });
  EXPECT_TRUE(eventually([&] { return parker.served == 10; }));
  runner->stop();
}

// Its forerunner had asked the driver not to kick, and nobody kicks in the driver's place.
TEST_P(QueueRunnerTest, ANewRunnerAsksForKicksBeforeItSleeps) {
  if (GetParam().notify == NotifyMode::kSync) return;  // a vCPU thread does not look by itself
  ParkingHandler parker(*runner);
  park_with_ten(parker);
  const auto state = runner->stop();
  ASSERT_TRUE(state.has_value());
  make_runner();
  start(*state);
  EXPECT_TRUE(eventually([&] { return handler->drained == 10; })) << "what was there already";
  for (std::uint64_t more = 11; more < 20; ++more) {
    ASSERT_TRUE(driver.add({{kData, 8, true}}));
    if (driver.offer()) ring();
    EXPECT_TRUE(eventually([&] { return handler->drained == more; })) << "a kick was lost";
  }
}

// There is nothing to do that would bring it to look at the ring.
TEST_P(QueueRunnerTest, ANewRunnerOfAnEmptyRingAsksForKicksBeforeItSleeps) {
  if (GetParam().notify == NotifyMode::kSync) return;
  Ring before = must(Ring::activate(memory, driver.config(), features, runner->counters()));
  before.suppress_kicks();
  DescriptorChain chain;
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(driver.add({{kData, 8, true}}));
    (void)driver.offer();
    ASSERT_EQ(before.pop(chain), Pop::kChain);
    before.complete(chain, 1);
    (void)before.publish();
    ASSERT_TRUE(driver.reap());
  }
  start(before.state());
  for (std::uint64_t more = 1; more < 10; ++more) {
    ASSERT_TRUE(driver.add({{kData, 8, true}}));
    if (driver.offer()) ring();
    ASSERT_TRUE(eventually([&] { return handler->drained == more; })) << "a kick was lost";
  }
}

TEST_P(QueueRunnerTest, AHandlerReleasesWhatItHoldsWhenItStops) {
  struct Holder final : QueueHandler {
    explicit Holder(QueueRunner& of) : runner(of), chains(kSize) {}
    void drain() noexcept override {
      while (runner.pop(chains[held]) == Pop::kChain) ++held;
    }
    void submit() noexcept override {}
    void release() noexcept override {
      while (held != 0) {
        if (!runner.rewind(chains[--held])) std::abort();
      }
    }
    QueueRunner& runner;
    std::vector<DescriptorChain> chains;
    std::atomic<std::size_t> held{0};
  } holder(*runner);
  runner->set_handler(&holder);
  start();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(driver.add({{kData, 8, true}}));
  (void)driver.offer();
  ring();
  EXPECT_TRUE(eventually([&] { return holder.held == 5; }));
  const auto ring = runner->stop();
  ASSERT_TRUE(ring.has_value());
  EXPECT_EQ(ring->next_avail, 0U) << "as if they had not been taken";
  runner->set_handler(handler.get());
  start(*ring);
  runner->kick_once();
  EXPECT_TRUE(eventually([&] { return handler->drained == 5; }));
}

TEST_P(QueueRunnerTest, ChainsThatBelongTogetherAreShownTogether) {
  struct Merger final : QueueHandler {
    explicit Merger(QueueRunner& of) : runner(of), chains(kSize) {}
    void drain() noexcept override {
      std::size_t count = 0;
      while (runner.pop(chains[count]) == Pop::kChain) ++count;
      for (std::size_t i = 0; i < count; ++i) {
        runner.complete(chains[i], 1, i + 1 < count ? Batch::kGoesOn : Batch::kMayEnd);
        if (i + 1 < count && runner.counters().batches.get() != 0) torn = true;
      }
      done = done + count;
    }
    void submit() noexcept override {}
    QueueRunner& runner;
    std::vector<DescriptorChain> chains;
    std::atomic<bool> torn{false};
    std::atomic<std::size_t> done{0};
  } merger(*runner);
  runner->set_handler(&merger);
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(driver.add({{kData, 8, true}}));
  (void)driver.offer();
  start();
  runner->kick_once();
  EXPECT_TRUE(eventually([&] { return merger.done == 40; }));
  EXPECT_FALSE(merger.torn);
  runner->stop();
  EXPECT_EQ(driver.used_idx(), 40U);
}

}  // namespace
}  // namespace bellhop
