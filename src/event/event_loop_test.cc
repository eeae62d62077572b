#include "event/event_loop.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "event/io_thread.h"
#include "testing/event_loop_fixture.h"

namespace bellhop {
namespace {

using testing::EventLoopTest;
using testing::Recorder;
using namespace std::chrono_literals;

TEST_P(EventLoopTest, DeliversTheCounterAndClearsIt) {
  const EventFd event = make_event();
  Recorder recorder;
  ASSERT_TRUE(loop->watch(event, recorder));
  event.signal();
  event.signal();
  loop->run_once(1s);
  EXPECT_EQ(recorder.events, 2U);
  EXPECT_EQ(event.consume(), 0U);
  loop->run_once(0ns);
  EXPECT_EQ(recorder.calls, 1U);
  event.signal();
  loop->run_once(1s);
  EXPECT_EQ(recorder.events, 3U);
  EXPECT_EQ(loop->unwatch(event), 0U);
}

TEST_P(EventLoopTest, HearsAnEventSignalledBeforeItWasWatched) {
  const EventFd event = make_event();
  event.signal();
  Recorder recorder;
  ASSERT_TRUE(loop->watch(event, recorder));
  loop->run_once(1s);
  EXPECT_EQ(recorder.events, 1U);
}

TEST_P(EventLoopTest, HearsABlockingEventfd) {
  const EventFd event = EventFd::adopt(UniqueFd(::eventfd(0, 0))).value();
  Recorder recorder;
  ASSERT_TRUE(loop->watch(event, recorder));
  loop->run_once(0ns);
  event.signal();
  loop->run_once(1s);
  EXPECT_EQ(recorder.events, 1U);
}

// Another process has the same open file description, and with it O_NONBLOCK and the counter.
TEST_P(EventLoopTest, NothingThatAPeerDoesToASharedEventBlocks) {
  const EventFd event = make_event();
  const EventFd other = make_event();
  Recorder recorder;
  Recorder bystander;
  ASSERT_TRUE(loop->watch(event, recorder));
  ASSERT_TRUE(loop->watch(other, bystander));
  const int peers = event.share().value();
  const std::uint64_t maximum = UINT64_MAX - 1;
  for (const int flags : {0, O_NONBLOCK, 0}) {
    ASSERT_EQ(::fcntl(peers, F_SETFL, flags), 0);
    const std::uint64_t seen = bystander.events;
    ASSERT_EQ(::write(peers, &maximum, sizeof maximum), 8);
    for (int i = 0; i < 3; ++i) loop->signal(event);
    other.signal();
    loop->run_once(1s);
    for (int i = 0; i < 10; ++i) loop->run_once(0ns);
    EXPECT_GE(std::exchange(recorder.calls, 0), 1U);
    EXPECT_EQ(bystander.events, seen + 1);
    // The peer takes what the loop was woken for.
    event.signal();
    std::uint64_t taken = 0;
    pollfd filled{.fd = peers, .events = POLLIN, .revents = 0};
    if (::poll(&filled, 1, 0) == 1) {
      ASSERT_EQ(::read(peers, &taken, sizeof taken), 8);
    }
    other.signal();
    loop->run_once(1s);
    for (int i = 0; i < 10; ++i) loop->run_once(0ns);
    EXPECT_EQ(bystander.events, seen + 2);
  }
}

TEST_P(EventLoopTest, RefusesWhatIsNotOpen) {
  const EventFd closed;
  Recorder recorder;
  EXPECT_FALSE(loop->watch(closed, recorder));
}

TEST_P(EventLoopTest, UnwatchLosesNoSignal) {
  for (int i = 0; i < 200; ++i) {
    const EventFd event = make_event();
    Recorder recorder;
    ASSERT_TRUE(loop->watch(event, recorder));
    if (i % 3 != 0) loop->run_once(0ns);
    event.signal();
    if (i % 2 != 0) event.signal();
    const std::uint64_t sent = i % 2 != 0 ? 2 : 1;
    const std::uint64_t taken = loop->unwatch(event);
    EXPECT_EQ(recorder.events + taken + event.consume(), sent);
    event.signal();
    loop->run_once(0ns);
    EXPECT_EQ(recorder.events, 0U);  // no call after unwatch
    EXPECT_EQ(event.consume(), 1U);  // and nobody else takes from the counter
  }
}

TEST_P(EventLoopTest, UnwatchOfAnUnknownEventIsHarmless) {
  const EventFd event = make_event();
  EXPECT_EQ(loop->unwatch(event), 0U);
}

TEST_P(EventLoopTest, AHandlerMayUnwatchItselfAndOthers) {
  const EventFd first = make_event();
  const EventFd second = make_event();
  Recorder recorder;
  Recorder other;
  std::uint64_t last = 0;
  const auto unwatch_both = [&] { last += loop->unwatch(first) + loop->unwatch(second); };
  recorder.also = unwatch_both;
  other.also = unwatch_both;
  ASSERT_TRUE(loop->watch(first, recorder));
  ASSERT_TRUE(loop->watch(second, other));
  loop->run_once(0ns);
  first.signal();
  second.signal();
  loop->run_once(1s);
  loop->run_once(0ns);
  EXPECT_EQ(recorder.calls + other.calls, 1U);
  EXPECT_EQ(recorder.events + other.events + last + first.consume() + second.consume(), 2U);
}

TEST_P(EventLoopTest, WatchingAgainWorks) {
  const EventFd event = make_event();
  Recorder recorder;
  for (std::uint64_t i = 1; i <= 1000; ++i) {
    ASSERT_TRUE(loop->watch(event, recorder));
    event.signal();
    loop->run_once(1s);
    EXPECT_EQ(loop->unwatch(event), 0U);
    ASSERT_EQ(recorder.events, i);
  }
}

TEST_P(EventLoopTest, ServesManyEventsInOneRound) {
  constexpr std::size_t kMany = 700;  // more than the submission queue takes
  std::vector<EventFd> events;
  std::vector<Recorder> recorders(kMany);
  for (std::size_t i = 0; i < kMany; ++i) events.push_back(make_event());
  loop->run_once(0ns);
  for (std::size_t i = 0; i < kMany; ++i) ASSERT_TRUE(loop->watch(events[i], recorders[i]));
  for (const auto& event : events) event.signal();
  for (int i = 0; i < 20; ++i) loop->run_once(1ms);
  for (const auto& recorder : recorders) EXPECT_EQ(recorder.events, 1U);
}

TEST_P(EventLoopTest, SignalReachesTheEventWithinRunOnce) {
  const EventFd kick = make_event();
  const EventFd call = make_event();
  Recorder recorder;
  recorder.also = [&] { loop->signal(call); };
  ASSERT_TRUE(loop->watch(kick, recorder));
  for (int i = 0; i < 3; ++i) {
    kick.signal();
    loop->run_once(1s);
    EXPECT_EQ(call.consume(), 1U);
  }
}

TEST_P(EventLoopTest, SignalReachesABlockingEventfd) {
  const EventFd call = EventFd::adopt(UniqueFd(::eventfd(0, 0))).value();
  loop->signal(call);
  for (int i = 0; i < 100; ++i) loop->run_once(1ms);
  std::uint64_t count = 0;
  ASSERT_EQ(::read(call.get(), &count, sizeof count), 8);
  EXPECT_EQ(count, 1U);
}

TEST_P(EventLoopTest, SignalOfACounterAtItsMaximumDoesNotBlock) {
  const EventFd call = make_event();
  const std::uint64_t maximum = UINT64_MAX - 1;
  ASSERT_EQ(::write(call.get(), &maximum, sizeof maximum), 8);
  for (int i = 0; i < 2000; ++i) {
    loop->signal(call);
    loop->run_once(0ns);
  }
  EXPECT_EQ(call.consume(), maximum);
  loop->run_once(0ns);
  EXPECT_EQ(call.consume(), 0U);
}

TEST_P(EventLoopTest, RunsMessagesOfOtherThreadsInOrder) {
  constexpr int kThreads = 4;
  constexpr int kEach = 500;
  std::array<int, kThreads> last{};
  last.fill(-1);
  int ran = 0;
  bool ordered = true;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        loop->post([&, t, i] {
          ordered = ordered && last[t] == i - 1;
          last[t] = i;
          if (++ran == kThreads * kEach) loop->stop();
        });
      }
    });
  }
  loop->run();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(ran, kThreads * kEach);
  EXPECT_TRUE(ordered);
}

TEST_P(EventLoopTest, StopBeforeRunIsNotLost) {
  loop->stop();
  loop->run();
  std::atomic<bool> stopped{false};
  std::thread stopper([&] {
    std::this_thread::sleep_for(2ms);
    stopped = true;
    loop->stop();
  });
  loop->run();
  EXPECT_TRUE(stopped) << "the first stop has ended the second run too";
  stopper.join();
}

// Two threads ring each other's eventfds: nothing may get lost, whatever the interleaving.
TEST_P(EventLoopTest, PingPongLosesNothing) {
  constexpr std::uint64_t kRounds = 20000;
  const EventFd ping = make_event();
  const EventFd pong = make_event();
  Recorder recorder;
  recorder.also = [&] {
    loop->signal(pong);
    if (recorder.events == kRounds) loop->stop();
  };
  ASSERT_TRUE(loop->watch(ping, recorder));
  std::thread other([&] {
    auto waiter = EventLoop::create(LoopKind::kEpoll);
    Recorder back;
    back.also = [&] {
      if (back.events < kRounds) ping.signal();
      if (back.events == kRounds) (*waiter)->stop();
    };
    ASSERT_TRUE((*waiter)->watch(pong, back));
    ping.signal();
    (*waiter)->run();
    EXPECT_EQ(back.events, kRounds);
  });
  loop->run();
  other.join();
  EXPECT_EQ(recorder.events, kRounds);
}

TEST_P(EventLoopTest, ARoundIsOneSystemCallOnIoUring) {
  constexpr std::uint64_t kRounds = 1000;
  const EventFd event = make_event();
  const EventFd call = make_event();
  Recorder recorder;
  recorder.also = [&] {
    event.signal();
    loop->signal(call);
    if (recorder.events == kRounds) loop->stop();
  };
  ASSERT_TRUE(loop->watch(event, recorder));
  loop->run_once(0ns);
  event.signal();
  const std::uint64_t before = loop->system_calls();
  loop->run();
  const std::uint64_t made = loop->system_calls() - before;
  if (GetParam() == LoopKind::kIoUring) {
    EXPECT_LE(made, kRounds + 20);
  } else {
    EXPECT_LE(made, 3 * kRounds + 20);
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, EventLoopTest,
                         ::testing::Values(LoopKind::kIoUring, LoopKind::kEpoll),
                         [](const auto& kind) {
                           return kind.param == LoopKind::kIoUring ? "io_uring" : "epoll";
                         });

}  // namespace
}  // namespace bellhop
