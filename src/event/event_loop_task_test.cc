#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <utility>
#include <vector>

#include "testing/event_loop_fixture.h"

namespace bellhop {
namespace {

using testing::EventLoopTest;
using testing::FunctionTask;
using testing::Recorder;
using namespace std::chrono_literals;

TEST_P(EventLoopTest, DeferredTasksRunOnceAfterTheHandlers) {
  const EventFd event = make_event();
  const EventFd other = make_event();
  std::vector<int> order;
  FunctionTask task([&] { order.push_back(9); });
  Recorder recorder;
  recorder.also = [&] {
    order.push_back(1);
    loop->defer(task);
    loop->defer(task);
  };
  ASSERT_TRUE(loop->watch(event, recorder));
  ASSERT_TRUE(loop->watch(other, recorder));
  loop->run_once(0ns);
  event.signal();
  other.signal();
  loop->run_once(1s);
  if (order.size() == 2) loop->run_once(1s);  // the second event came a round later
  EXPECT_THAT(
      order, ::testing::AnyOf(::testing::ElementsAre(1, 1, 9), ::testing::ElementsAre(1, 9, 1, 9)));
}

TEST_P(EventLoopTest, ATaskMayDeferAnotherOne) {
  int ran = 0;
  FunctionTask interrupt([&] { ran += 10; });
  FunctionTask drain([&] {
    ++ran;
    loop->defer(interrupt);
  });
  loop->defer(drain);
  loop->run_once(10s);  // does not wait: there is a task
  EXPECT_EQ(ran, 11);
}

TEST_P(EventLoopTest, ATimerThatIsStartedAgainIsMoved) {
  struct Counter final : TimerHandler {
    void on_timer() noexcept override { ++fired; }
    int fired = 0;
  } counter;
  const auto begin = std::chrono::steady_clock::now();
  loop->start_timer(counter, 1ms);
  loop->start_timer(counter, 30ms);
  while (counter.fired == 0 && std::chrono::steady_clock::now() - begin < 10s) loop->run_once(15s);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 30ms) << "the first one is void";
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s) << "it ends the loop's sleep";
  loop->run_once(50ms);
  EXPECT_EQ(counter.fired, 1);
}

// With nothing else that could wake it.
TEST_P(EventLoopTest, TheLoopDoesNotSleepWhileATaskIsDeferred) {
  int runs = 0;
  FunctionTask task([] {});
  task.work = [&] {
    if (++runs < 100) loop->defer(task);
  };
  loop->defer(task);
  const auto begin = std::chrono::steady_clock::now();
  while (runs < 100 && std::chrono::steady_clock::now() - begin < 5s) loop->run_once(10s);
  EXPECT_EQ(runs, 100) << "it has slept";
}

TEST_P(EventLoopTest, ATaskThatDefersItselfLeavesRoomForEvents) {
  const EventFd event = make_event();
  Recorder recorder;
  ASSERT_TRUE(loop->watch(event, recorder));
  int polls = 0;
  FunctionTask poll([&] {});
  poll.work = [&] {
    ++polls;
    if (recorder.events == 0) loop->defer(poll);
  };
  loop->defer(poll);
  loop->run_once(10s);
  EXPECT_GT(polls, 0);
  event.signal();
  for (int i = 0; i < 10 && recorder.events == 0; ++i) loop->run_once(10s);
  EXPECT_EQ(recorder.events, 1U);
}

TEST_P(EventLoopTest, ATaskCanBeTakenBack) {
  int ran = 0;
  FunctionTask a([&] { ran += 1; });
  FunctionTask b([&] { ran += 10; });
  FunctionTask c([&] { ran += 100; });
  loop->cancel_deferred(a);
  loop->defer(a);
  loop->defer(b);
  loop->defer(c);
  loop->cancel_deferred(b);
  loop->cancel_deferred(c);
  loop->defer(b);
  a.work = [&] {
    ran += 1;
    loop->cancel_deferred(b);
  };
  loop->run_once(0ns);
  EXPECT_EQ(ran, 1);
  loop->run_once(0ns);
  EXPECT_EQ(ran, 1);
}

TEST_P(EventLoopTest, TimersFireInOrderAndNotEarly) {
  std::vector<int> order;
  Recorder late;
  Recorder early;
  late.also = [&] { order.push_back(2); };
  early.also = [&] { order.push_back(1); };
  const auto begin = std::chrono::steady_clock::now();
  loop->start_timer(late, 4ms);
  loop->start_timer(early, 2ms);
  while (order.size() < 2) loop->run_once(1s);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 4ms);
  EXPECT_THAT(order, ::testing::ElementsAre(1, 2));
  loop->run_once(1ms);
  EXPECT_EQ(late.timers + early.timers, 2);
}

TEST_P(EventLoopTest, TimersMoveAndStop) {
  Recorder moved;
  Recorder stopped;
  loop->start_timer(moved, 10s);
  loop->start_timer(stopped, 1ms);
  loop->start_timer(moved, 2ms);
  loop->stop_timer(stopped);
  while (moved.timers == 0) loop->run_once(1s);
  loop->run_once(3ms);
  EXPECT_EQ(moved.timers, 1);
  EXPECT_EQ(stopped.timers, 0);
}

TEST_P(EventLoopTest, ATimerMayStartItselfAgain) {
  Recorder recorder;
  recorder.also = [&] {
    if (recorder.timers < 5) loop->start_timer(recorder, 100us);
  };
  loop->start_timer(recorder, 0ns);
  for (int i = 0; i < 100 && recorder.timers < 5; ++i) loop->run_once(1s);
  EXPECT_EQ(recorder.timers, 5);
}

TEST_P(EventLoopTest, RunOnceReturnsAfterItsTimeout) {
  const auto begin = std::chrono::steady_clock::now();
  // Some end early: the first sets things up, and what the kernel still does for the ring of
  // another loop of this thread interrupts a sleep. One that does not sleep makes thousands of
  // rounds.
  int rounds = 0;
  for (; std::chrono::steady_clock::now() - begin < 5ms; ++rounds) loop->run_once(5ms);
  EXPECT_LT(rounds, 100);
}

}  // namespace
}  // namespace bellhop
