#include "event/event_loop.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <atomic>
#include <thread>
#include <utility>
#include <vector>

#include "event/io_thread.h"

namespace bellhop {
namespace {

using namespace std::chrono_literals;

struct Recorder final : EventHandler, TimerHandler {
  std::function<void()> also = [] {};
  std::uint64_t events = 0;
  std::uint64_t calls = 0;
  int timers = 0;
  void on_event(std::uint64_t count) noexcept override {
    events += count;
    ++calls;
    also();
  }
  void on_timer() noexcept override {
    ++timers;
    also();
  }
};

struct FunctionTask final : Task {
  explicit FunctionTask(std::function<void()> f) : work(std::move(f)) {}
  std::function<void()> work;
  void run() noexcept override { work(); }
};

class EventLoopTest : public testing::TestWithParam<LoopKind> {
 protected:
  void SetUp() override {
    auto made = EventLoop::create(GetParam());
    if (!made && GetParam() == LoopKind::kIoUring) {
      GTEST_SKIP() << "this host forbids io_uring: " << made.error().message;
    }
    ASSERT_TRUE(made) << made.error().message;
    loop = std::move(*made);
  }
  static EventFd make_event() {
    auto event = EventFd::create();
    EXPECT_TRUE(event);
    return std::move(*event);
  }
  std::unique_ptr<EventLoop> loop;
};

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

struct ReadyRecorder final : ReadyHandler {
  std::function<void()> also = [] {};
  int calls = 0;
  void on_ready() noexcept override {
    ++calls;
    also();
  }
};

struct SocketPair {
  SocketPair() { EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0); }
  ~SocketPair() {
    ::close(fds[0]);
    if (fds[1] >= 0) ::close(fds[1]);
  }
  void send() const { EXPECT_EQ(::write(fds[1], "x", 1), 1); }
  void receive() const {
    char byte = 0;
    EXPECT_EQ(::read(fds[0], &byte, 1), 1);
  }
  int fds[2] = {-1, -1};
};

TEST_P(EventLoopTest, WaitsForADescriptorOnceEachTimeItIsArmed) {
  const SocketPair pair;
  ReadyRecorder recorder;
  auto watch = loop->watch_fd(pair.fds[0], Readiness::kReadable, recorder);
  ASSERT_TRUE(watch);
  pair.send();
  loop->run_once(1ms);
  EXPECT_EQ(recorder.calls, 0) << "not armed yet";
  (*watch)->arm();
  (*watch)->arm();
  loop->run_once(1s);
  EXPECT_EQ(recorder.calls, 1);
  loop->run_once(1ms);
  EXPECT_EQ(recorder.calls, 1) << "still readable, but nobody asked";
  (*watch)->arm();
  loop->run_once(1s);
  EXPECT_EQ(recorder.calls, 2);
  pair.receive();
  (*watch)->arm();
  loop->run_once(1ms);
  EXPECT_EQ(recorder.calls, 2);
  pair.send();
  loop->run_once(1s);
  EXPECT_EQ(recorder.calls, 3);
}

TEST_P(EventLoopTest, WaitsForOneDescriptorBothWays) {
  const SocketPair pair;
  ReadyRecorder readable;
  ReadyRecorder writable;
  auto reads = loop->watch_fd(pair.fds[0], Readiness::kReadable, readable);
  auto writes = loop->watch_fd(pair.fds[0], Readiness::kWritable, writable);
  ASSERT_TRUE(reads && writes);
  while (::write(pair.fds[0], "y", 1) == 1) {
  }
  (*reads)->arm();
  (*writes)->arm();
  loop->run_once(1ms);
  EXPECT_EQ(readable.calls + writable.calls, 0);
  pair.send();
  loop->run_once(1s);
  EXPECT_EQ(readable.calls, 1);
  EXPECT_EQ(writable.calls, 0);
  char byte = 0;
  while (::read(pair.fds[1], &byte, 1) == 1) {
  }
  loop->run_once(1s);
  EXPECT_EQ(writable.calls, 1);
}

TEST_P(EventLoopTest, ADescriptorsHandlerMayArmOrEndItsOwnWatch) {
  const SocketPair pair;
  ReadyRecorder recorder;
  auto made = loop->watch_fd(pair.fds[0], Readiness::kWritable, recorder);
  ASSERT_TRUE(made);
  auto watch = std::move(*made);
  recorder.also = [&] {
    if (recorder.calls == 3) {
      watch.reset();
    } else {
      watch->arm();
    }
  };
  watch->arm();
  for (int i = 0; i < 5; ++i) loop->run_once(1ms);
  EXPECT_EQ(recorder.calls, 3);
}

TEST_P(EventLoopTest, NoCallComesAfterADescriptorsWatchHasEnded) {
  for (int i = 0; i < 200; ++i) {
    const SocketPair pair;
    ReadyRecorder recorder;
    auto watch = loop->watch_fd(pair.fds[0], Readiness::kReadable, recorder);
    ASSERT_TRUE(watch);
    if (i % 4 != 0) (*watch)->arm();
    if (i % 3 != 0) loop->run_once(0ns);
    pair.send();
    watch->reset();
    const int calls = recorder.calls;
    loop->run_once(0ns);
    EXPECT_EQ(recorder.calls, calls);
  }
}

TEST_P(EventLoopTest, TellsOfADescriptorWhosePeerHasGone) {
  SocketPair pair;
  ReadyRecorder recorder;
  auto watch = loop->watch_fd(pair.fds[0], Readiness::kReadable, recorder);
  ASSERT_TRUE(watch);
  (*watch)->arm();
  loop->run_once(1ms);
  ::close(std::exchange(pair.fds[1], -1));
  loop->run_once(1s);
  EXPECT_EQ(recorder.calls, 1);
  loop->run_once(1ms);
  EXPECT_EQ(recorder.calls, 1) << "an error that stays is told once";
}

TEST_P(EventLoopTest, RefusesADescriptorThatIsNotOpen) {
  ReadyRecorder recorder;
  EXPECT_FALSE(loop->watch_fd(-1, Readiness::kReadable, recorder));
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
  EXPECT_THAT(order,
              testing::AnyOf(testing::ElementsAre(1, 1, 9), testing::ElementsAre(1, 9, 1, 9)));
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
  EXPECT_THAT(order, testing::ElementsAre(1, 2));
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
  loop->run_once(5ms);
  loop->run_once(5ms);  // the first one may end early, as it sets things up
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 5ms);
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

/// Has work after so many looks.
struct CountingPoller final : Poller {
  explicit CountingPoller(EventLoop& l) : loop(l), task([this] { ++served; }) {}
  bool poll() noexcept override {
    ++looks;
    if (looks < found_at) return false;
    found_at = SIZE_MAX;
    loop.defer(task);
    return true;
  }
  bool prepare_sleep() noexcept override {
    ++asked;
    if (!slipped_in) return false;
    slipped_in = false;
    loop.defer(task);
    return true;
  }
  [[nodiscard]] bool has_work_under_way() const noexcept override { return under_way; }
  EventLoop& loop;
  FunctionTask task;
  std::size_t looks = 0;
  std::size_t found_at = SIZE_MAX;
  int asked = 0;
  int served = 0;
  bool slipped_in = false;
  bool under_way = false;
};

TEST_P(EventLoopTest, AsksPollersBeforeItSleepsAndStaysAwakeForWhatSlippedIn) {
  CountingPoller poller(*loop);
  loop->add_poller(poller);
  loop->run_once(1ms);
  EXPECT_EQ(poller.asked, 1);
  EXPECT_EQ(poller.looks, 0U) << "not allowed to look";
  poller.slipped_in = true;
  const auto before = std::chrono::steady_clock::now();
  loop->run_once(10s);
  EXPECT_LT(std::chrono::steady_clock::now() - before, 5s) << "slept with work to do";
  EXPECT_EQ(poller.served, 1);
  loop->remove_poller(poller);
  loop->run_once(1ms);
  EXPECT_EQ(poller.asked, 2);
}

TEST_P(EventLoopTest, LooksForWorkOnceSleepsProveShort) {
  CountingPoller poller(*loop);
  loop->add_poller(poller);
  loop->set_poll_max(10s);
  loop->run_once(1ms);  // the first sleep is short: credit
  EXPECT_EQ(poller.looks, 0U);
  poller.found_at = 100;
  loop->run_once(10s);
  EXPECT_EQ(poller.looks, 100U);
  EXPECT_EQ(poller.served, 1);
  EXPECT_EQ(poller.asked, 1) << "found before it had to ask";

  // While something is under way, its own experience counts: none so far.
  poller.under_way = true;
  poller.found_at = 0;
  loop->run_once(1ms);
  EXPECT_EQ(poller.looks, 100U);
  loop->remove_poller(poller);
}

TEST_P(EventLoopTest, StopsLookingWhenItDoesNotPay) {
  CountingPoller poller(*loop);
  loop->add_poller(poller);
  loop->set_poll_max(1ms);
  for (int i = 0; i < 4; ++i) loop->run_once(0ns);  // no sleep, no experience
  loop->run_once(100us);
  for (int i = 0; i < 16; ++i) loop->run_once(3ms);
  poller.looks = 0;
  loop->run_once(3ms);
  EXPECT_EQ(poller.looks, 0U);
  loop->remove_poller(poller);
}

INSTANTIATE_TEST_SUITE_P(Kinds, EventLoopTest,
                         testing::Values(LoopKind::kIoUring, LoopKind::kEpoll),
                         [](const auto& kind) {
                           return kind.param == LoopKind::kIoUring ? "io_uring" : "epoll";
                         });

TEST(EventLoop, TheBestIsToBeHadEverywhere) { EXPECT_TRUE(EventLoop::create_best()); }

}  // namespace
}  // namespace bellhop
