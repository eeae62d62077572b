#include "virtio/queue/queue_runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "testing/queue_runner_fixture.h"

namespace bellhop {
namespace {

using testing::eventually;
using testing::FakeDriver;
using testing::QueueRunnerTest;
using Mode = testing::RunnerMode;

TEST_P(QueueRunnerTest, NothingIsLostUnderLoad) {
  start();
  run_requests(100'000);
  EXPECT_EQ(handler->drained, 100'000U);
  const QueueCounters& counters = runner->counters();
  EXPECT_EQ(counters.completions.get(), 100'000U);
  EXPECT_LE(counters.spurious_kicks.get(), counters.kicks.get());
  EXPECT_LE(counters.interrupts.get(), counters.batches.get());
}

TEST_P(QueueRunnerTest, StampsEachRequestOnItsWay) {
  EXPECT_FALSE(runner->take_request_times()) << "unless it is asked for";
  runner->set_trace(std::make_unique<RequestTrace>(kSize));
  runner->set_handler(handler.get());
  start();
  run_requests(1000);
  const auto times = runner->take_request_times();
  ASSERT_TRUE(times);
  EXPECT_EQ(times->requests, 1000U);
  for (std::size_t step = 1; step + 1 < kRequestSteps; ++step) {
    EXPECT_EQ(times->steps[step].count(), 1000U) << step;
  }
  for (const RequestLife& life : times->last) {
    EXPECT_TRUE(std::is_sorted(life.at.begin() + 1, life.at.end() - 1));
  }
}

TEST_P(QueueRunnerTest, OneBatchIsOneSubmissionAndOneInterrupt) {
  start();
  handler->hold = true;
  EXPECT_FALSE(driver.enable_interrupts());
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(driver.add({{kData, 8, true}}));
  ASSERT_TRUE(driver.offer());
  ring();
  EXPECT_TRUE(eventually([&] { return handler->submissions != 0; }));
  EXPECT_EQ(handler->submissions, 1U);
  EXPECT_EQ(handler->drained, 10U);
  thread->run_sync([this] {
    if (GetParam().notify == NotifyMode::kSync) {
      runner->with_queue_lock([this] { handler->give_back(); });
    } else {
      handler->give_back();
    }
  });
  wait_for_call();
  EXPECT_TRUE(eventually([&] { return driver.used_idx() == 10; }));
  EXPECT_EQ(runner->counters().interrupts.get(), 1U);
  EXPECT_EQ(runner->counters().kicks.get(), 1U);
}

/// What the driver waits for comes although it is put off, each time.
TEST_P(QueueRunnerTest, NothingIsLostWhereInterruptsArePutOff) {
  coalesce = std::chrono::microseconds(50);
  make_runner();
  start();
  run_requests(20'000);
  EXPECT_EQ(handler->drained, 20'000U);
  EXPECT_LE(runner->counters().interrupts.get(), runner->counters().batches.get());
}

TEST_P(QueueRunnerTest, OneInterruptTellsOfAllThatIsPutOffAndAStopRingsIt) {
  coalesce = std::chrono::hours(1);
  make_runner();
  start();
  EXPECT_FALSE(driver.enable_interrupts());
  for (std::uint64_t i = 1; i <= 5; ++i) {
    ASSERT_TRUE(driver.add({{kData, 8, true}}));
    (void)driver.offer();
    ring();  // a good driver would not, where it was not asked to
    ASSERT_TRUE(eventually([&] { return driver.used_idx() == i; }));
  }
  thread->run_sync([] {});  // what publishes has come back from it
  if (drain() == Drain::kByVcpu) {
    EXPECT_GT(call.consume(), 0U) << "a vCPU does not wait";
    return;
  }
  EXPECT_EQ(call.consume(), 0U);
  (void)runner->stop();
  EXPECT_EQ(call.consume(), 1U);
  EXPECT_EQ(runner->counters().interrupts.get(), 1U);
}

TEST_P(QueueRunnerTest, StopWaitsForRequestsInFlightAndPublishesThem) {
  start();
  handler->hold = true;
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(driver.add({{kData, 8, true}}));
  (void)driver.offer();
  ring();
  EXPECT_TRUE(eventually([&] { return handler->drained == 5; }));
  std::thread later([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    thread->run_sync([this] {
      if (GetParam().notify == NotifyMode::kSync) {
        runner->with_queue_lock([this] { handler->give_back(); });
      } else {
        handler->give_back();
      }
    });
  });
  const auto ring = runner->stop();
  later.join();
  ASSERT_TRUE(ring.has_value());
  EXPECT_EQ(ring->next_avail, 5U);
  EXPECT_EQ(driver.used_idx(), 5U);
}

TEST_P(QueueRunnerTest, ServesWhatIsOfferedWhileMuchIsUnderWay) {
  start();
  handler->hold = true;
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(driver.add({{kData, 8, true}}));
  if (driver.offer()) ring();
  EXPECT_TRUE(eventually([&] { return handler->drained == 8; }));
  // Nothing of that will end, and the driver may have been asked not to ring: it is served anyway.
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  for (std::uint64_t more = 9; more <= 12; ++more) {
    ASSERT_TRUE(driver.add({{kData, 8, true}}));
    if (driver.offer()) ring();
    EXPECT_TRUE(eventually([&] { return handler->drained == more; })) << "a request was left lying";
  }
  handler->hold = false;
  thread->run_sync([this] {
    if (GetParam().notify == NotifyMode::kSync) {
      runner->with_queue_lock([this] { handler->give_back(); });
    } else {
      handler->give_back();
    }
  });
}

TEST_P(QueueRunnerTest, TenThousandStopsAndStartsLoseNothing) {
  start();
  constexpr int kRounds = 10'000;
  std::atomic<bool> done{false};
  // A guest that rings whenever it likes, also while nobody listens.
  std::thread storm([&] {
    while (!done) {
      this->ring();
      std::this_thread::yield();
    }
  });
  int reaped = 0;
  int offered = 0;
  for (int i = 0; i < kRounds; ++i) {
    for (int k = 0; k < 3; ++k) {
      if (driver.add({{kData, 8, true}})) ++offered;
    }
    if (driver.offer() && i % 2 == 0) ring();
    const auto ring = runner->stop();
    ASSERT_TRUE(ring.has_value());
    while (driver.reap()) ++reaped;
    start(*ring);
    runner->kick_once();
  }
  EXPECT_TRUE(eventually([&] {
    while (driver.reap()) ++reaped;
    return reaped >= offered;
  })) << reaped
      << " of " << offered << " came back";
  done = true;
  storm.join();
  EXPECT_EQ(handler->drained, static_cast<std::uint64_t>(offered));
  EXPECT_EQ(sink.broken, 0);
}

// All within one round of the loop: deferred, stopped, destroyed. At the end of the round the loop
// must know nothing of it any more: Task's destructor
// checks that where asserts are on.
TEST_P(QueueRunnerTest, ADeferredRoundGoesWithTheRunner) {
  for (int i = 0; i < 100; ++i) {
    start();
    thread->run_sync([&] {
      thread->loop().defer(*runner);
      EXPECT_TRUE(runner->stop().has_value());
      runner.reset();
    });
    thread->run_sync([] {});
    make_runner();
  }
  start();
  run_requests(10);
}

// A kick that was heard, and whose round never came, belongs to the life that has ended.
TEST_P(QueueRunnerTest, AKickIsForgottenWhenTheQueueStops) {
  if (GetParam().notify == NotifyMode::kSync) return;  // no round is put off there
  start();
  thread->run_sync([&] {
    static_cast<EventHandler&>(*runner).on_event(1);
    const auto ring = runner->stop();
    ASSERT_TRUE(ring.has_value());
    start(*ring);
    thread->loop().defer(*runner);
  });
  thread->run_sync([] {});
  EXPECT_EQ(runner->counters().kicks.get(), 1U);
  EXPECT_EQ(runner->counters().spurious_kicks.get(), 0U);
  run_requests(10);
}

TEST_P(QueueRunnerTest, CountsTheKicksThatCameAsExits) {
  start();
  run_requests(10);
  const QueueCounters& counters = runner->counters();
  if (GetParam().notify == NotifyMode::kPoll) {
    // None is needed while the thread looks, and one that came may not have arrived.
    EXPECT_LE(counters.kicks.get(), counters.kicks_by_exit.get());
    return;
  }
  EXPECT_GT(counters.kicks.get(), 0U);
  const bool sync = GetParam().notify == NotifyMode::kSync;
  EXPECT_EQ(counters.kicks_by_exit.get(), sync ? counters.kicks.get() : 0U);
  runner->stop();
}

TEST_P(QueueRunnerTest, KicksWithoutARingDoNothing) {
  ring();
  runner->kick();
  start();
  run_requests(10);
  runner->stop();
  ring();
  runner->kick();
  EXPECT_EQ(handler->drained, 10U);
}

TEST_P(QueueRunnerTest, BrokenRingIsReportedOnceAndStopsTheQueue) {
  start();
  driver.break_ring();
  ring();
  EXPECT_TRUE(eventually([&] { return sink.broken != 0; }));
  ring();
  const auto ring = runner->stop();
  ASSERT_TRUE(ring.has_value());
  EXPECT_TRUE(ring->broken);
  EXPECT_EQ(runner->counters().broken.get(), 1U);
  // After a reset the same runner serves a new ring.
  driver = FakeDriver(memory, kRing, kSize, features);
  start();
  run_requests(100);
}

INSTANTIATE_TEST_SUITE_P(
    Modes, QueueRunnerTest,
    ::testing::Values(
        Mode{NotifyMode::kIoEventFd, false, true}, Mode{NotifyMode::kIoEventFd, true, true},
        Mode{NotifyMode::kIoEventFd, false, false}, Mode{NotifyMode::kPoll, false, true},
        Mode{NotifyMode::kPoll, true, false}, Mode{NotifyMode::kSync, false, true},
        Mode{NotifyMode::kSync, true, false}, Mode{NotifyMode::kIoEventFd, false, true, true},
        Mode{NotifyMode::kIoEventFd, true, false, true}, Mode{NotifyMode::kPoll, false, true, true},
        Mode{NotifyMode::kSync, true, true, true}, Mode{NotifyMode::kSync, false, false, true}),
    [](const auto& which) { return which.param.name(); });

}  // namespace
}  // namespace bellhop
