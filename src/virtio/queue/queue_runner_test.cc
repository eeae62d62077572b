#include "virtio/queue/queue_runner.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "testing/eventually.h"
#include "testing/fake_driver.h"
#include "testing/test_memory.h"
#include "virtio/queue/notify_mode.h"

namespace bellhop {
namespace {

using testing::eventually;
using testing::FakeDriver;
using testing::make_memory;
using testing::must;

constexpr GuestAddress kRing{0x10000};
constexpr GuestAddress kData{0x800000};
constexpr std::uint16_t kSize = 64;

/// Gives every request back at once, or keeps them until release().
class EchoHandler final : public QueueHandler {
 public:
  explicit EchoHandler(QueueRunner& runner) : runner_(runner), chains_(kSize) {}

  void drain() noexcept override {
    while (held_ < chains_.size()) {
      if (runner_.pop(chains_[held_]) != Pop::kChain) return;
      ++held_;
      ++drained;
    }
  }
  void submit() noexcept override {
    ++submissions;
    if (!hold.load()) give_back();
  }
  void give_back() noexcept {
    while (held_ > 0) runner_.complete(chains_[--held_], 1);
  }
  [[nodiscard]] std::size_t held() const { return held_; }

  std::atomic<bool> hold{false};
  std::atomic<std::uint64_t> drained{0};
  std::atomic<std::uint64_t> submissions{0};

 private:
  QueueRunner& runner_;
  std::vector<DescriptorChain> chains_;
  std::size_t held_ = 0;
};

/// Can do nothing with chains before open(); then takes so many in one turn.
class ParkingHandler final : public QueueHandler {
 public:
  explicit ParkingHandler(QueueRunner& runner) : runner_(runner) {}

  void drain() noexcept override {
    ++drains;
    for (int turn = 0; turn < 4; ++turn) {
      if (runner_.pop(chain_) != Pop::kChain) return;
      if (places_ == 0) {
        if (!runner_.rewind(chain_)) std::abort();
        return runner_.park();
      }
      --places_;
      ++served;
      runner_.complete(chain_, 1);
    }
    runner_.yield();
  }
  void submit() noexcept override {}
  /// On the I/O thread.
  void open(int places) noexcept {
    places_ += places;
    runner_.wake();
  }

  std::atomic<std::uint64_t> drains{0};
  std::atomic<std::uint64_t> served{0};

 private:
  QueueRunner& runner_;
  DescriptorChain chain_;
  std::atomic<int> places_{0};
};

struct CountingSink final : QueueFaultSink {
  void queue_broken() noexcept override { ++broken; }
  std::atomic<int> broken{0};
};

struct Mode {
  NotifyMode notify;
  bool epoll;
  bool event_idx;
};

class QueueRunnerTest : public ::testing::TestWithParam<Mode> {
 protected:
  QueueRunnerTest()
      : memory(make_memory()),
        features{.indirect = false, .event_idx = GetParam().event_idx},
        driver(memory, kRing, kSize, features),
        thread(
            must(IoThread::start({.name = "io0", .cpus = {}, .prefer_epoll = GetParam().epoll}))),
        call(must(EventFd::create())) {
    interrupt.point_at(&call);
    make_runner();
  }
  ~QueueRunnerTest() override { runner->stop(); }

  void make_runner() {
    runner = must(QueueRunner::create(
        {.thread = thread.get(), .drain = drain(), .interrupt = &interrupt, .faults = &sink}));
    handler = std::make_unique<EchoHandler>(*runner);
    runner->set_handler(handler.get());
  }
  static Drain drain() {
    return GetParam().notify == NotifyMode::kSync ? Drain::kByVcpu : Drain::kByIoThread;
  }
  void start(RingState state = {}) {
    runner->start(
        must(SplitRing::activate(memory, driver.config(), features, runner->counters(), state)));
  }
  /// As KVM does it: an armed doorbell is signalled, an exit calls kick().
  void ring() {
    if (GetParam().notify == NotifyMode::kIoEventFd) {
      runner->doorbell().signal();
    } else {
      runner->kick();
    }
  }
  /// Everything that the driver does for `count` requests, as a good driver.
  void run_requests(int count) {
    int offered = 0;
    int done = 0;
    while (done < count) {
      bool added = false;
      while (offered < count && driver.add({{kData, 8, true}})) {
        ++offered;
        added = true;
      }
      if (added && driver.offer()) ring();
      driver.suppress_interrupts();
      int reaped = 0;
      while (driver.reap()) ++reaped;
      done += reaped;
      if (reaped != 0 || done == count) continue;
      if (driver.enable_interrupts()) continue;
      wait_for_call();
      if (HasFailure()) return;
    }
  }
  void wait_for_call() {
    EXPECT_TRUE(eventually([this] { return call.consume() != 0; }))
        << "no interrupt: a notification was lost";
  }

  GuestMemory memory;
  RingFeatures features;
  FakeDriver driver;
  std::unique_ptr<IoThread> thread;
  EventFd call;
  GuestInterrupt interrupt;
  CountingSink sink;
  std::unique_ptr<QueueRunner> runner;
  std::unique_ptr<EchoHandler> handler;
};

TEST_P(QueueRunnerTest, NothingIsLostUnderLoad) {
  start();
  run_requests(100'000);
  EXPECT_EQ(handler->drained, 100'000U);
  const QueueCounters& counters = runner->counters();
  EXPECT_EQ(counters.completions.get(), 100'000U);
  EXPECT_LE(counters.spurious_kicks.get(), counters.kicks.get());
  EXPECT_LE(counters.interrupts.get(), counters.batches.get());
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

TEST_P(QueueRunnerTest, AHandlerThatParksIsLeftAloneUntilItIsWoken) {
  ParkingHandler parker(*runner);
  runner->set_handler(&parker);
  start();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(driver.add({{kData, 8, true}}));
  (void)driver.offer();
  ring();
  EXPECT_TRUE(eventually([&] { return parker.drains != 0; }));
  ring();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(parker.drains, 1U) << "the loop does not spin on a ring that has chains";
  EXPECT_EQ(runner->counters().chains.get(), 0U);
  ASSERT_TRUE(driver.add({{kData, 8, true}}));
  EXPECT_FALSE(driver.offer()) << "a kick would be in vain";
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

TEST_P(QueueRunnerTest, AFloodedQueueLetsTheOthersOfItsThreadWork) {
  if (GetParam().notify == NotifyMode::kSync) return;  // each has its own vCPU
  constexpr GuestAddress kSecondRing{0x40000};
  FakeDriver second_driver(memory, kSecondRing, kSize, features);
  GuestInterrupt second_interrupt;
  const auto second = must(QueueRunner::create(
      {.thread = thread.get(), .drain = drain(), .interrupt = &second_interrupt, .faults = &sink}));
  ParkingHandler flooded(*runner);
  struct Noter final : QueueHandler {
    Noter(QueueRunner& of, ParkingHandler& with) : runner(of), other(with) {}
    void drain() noexcept override {
      if (runner.pop(chain) != Pop::kChain) return;
      others_progress = other.served;
      runner.complete(chain, 1);
      done = true;
    }
    void submit() noexcept override {}
    QueueRunner& runner;
    ParkingHandler& other;
    DescriptorChain chain;
    std::uint64_t others_progress = 0;
    std::atomic<bool> done{false};
  } noter(*second, flooded);
  runner->set_handler(&flooded);
  second->set_handler(&noter);
  start();
  second->start(
      must(SplitRing::activate(memory, second_driver.config(), features, second->counters())));
  for (int i = 0; i < kSize; ++i) ASSERT_TRUE(driver.add({{kData, 8, true}}));
  ASSERT_TRUE(second_driver.add({{kData, 8, true}}));
  thread->run_sync([&] {
    // All of it is there before the loop looks at anything.
    (void)driver.offer();
    (void)second_driver.offer();
    flooded.open(1000);
    second->wake();
  });
  EXPECT_TRUE(eventually([&] { return noter.done && flooded.served == kSize; }));
  EXPECT_LE(noter.others_progress, 8U) << "a turn is four chains";
  runner->stop();
  second->stop();
}

TEST_P(QueueRunnerTest, AQueueThatParksStopsAndStarts) {
  ParkingHandler parker(*runner);
  runner->set_handler(&parker);
  start();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(driver.add({{kData, 8, true}}));
  (void)driver.offer();
  ring();
  EXPECT_TRUE(eventually([&] { return parker.drains != 0; }));
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

TEST_P(QueueRunnerTest, CountsTheKicksThatCameAsExits) {
  start();
  run_requests(10);
  const QueueCounters& counters = runner->counters();
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
  driver.set_avail_idx(kSize + 1);
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

/// Answers every request at once, while its driver offers the next one: a drain that never finds
/// the ring empty.
class EndlessHandler final : public QueueHandler {
 public:
  EndlessHandler(QueueRunner& runner, FakeDriver& driver, bool malformed)
      : runner_(runner), driver_(driver), malformed_(malformed) {}

  void drain() noexcept override {
    while (runner_.pop(chain_) == Pop::kChain) {
      runner_.complete(chain_, 0);
      refill();
    }
  }
  void submit() noexcept override {}
  std::uint32_t malformed(DescriptorChain& /*chain*/) noexcept override {
    refill();
    return 0;
  }
  /// What a vCPU does meanwhile.
  void refill() noexcept {
    ++answered;
    if (answered >= kRequests) return;
    (void)driver_.reap();
    (void)driver_.add({{kData, malformed_ ? 0U : 8U, true}});
    (void)driver_.offer();
  }

  static constexpr unsigned kRequests = 20'000;
  std::atomic<unsigned> answered{0};

 private:
  QueueRunner& runner_;
  FakeDriver& driver_;
  bool malformed_;
  DescriptorChain chain_;
};

/// How many of the other queue's requests were answered before it was served.
class BystanderHandler final : public QueueHandler {
 public:
  BystanderHandler(QueueRunner& runner, const EndlessHandler& other)
      : runner_(runner), other_(other) {}
  void drain() noexcept override {
    while (runner_.pop(chain_) == Pop::kChain) {
      waited = other_.answered.load();
      runner_.complete(chain_, 0);
    }
  }
  void submit() noexcept override {}
  std::atomic<unsigned> waited{UINT32_MAX};

 private:
  QueueRunner& runner_;
  const EndlessHandler& other_;
  DescriptorChain chain_;
};

TEST_P(QueueRunnerTest, ADriverThatRefillsItsRingDoesNotKeepTheThread) {
  for (const bool malformed : {false, true}) {
    driver = FakeDriver(memory, kRing, kSize, features);
    EndlessHandler endless(*runner, driver, malformed);
    runner->set_handler(&endless);
    start();
    FakeDriver second(memory, GuestAddress(kRing.value() + 0x10000), kSize, features);
    auto second_runner = must(QueueRunner::create({.thread = thread.get(),
                                                   .drain = Drain::kByIoThread,
                                                   .interrupt = &interrupt,
                                                   .faults = &sink}));
    BystanderHandler bystander(*second_runner, endless);
    second_runner->set_handler(&bystander);
    second_runner->start(
        must(SplitRing::activate(memory, second.config(), features, second_runner->counters())));
    thread->run_sync([] {});
    for (int i = 0; i < 4; ++i) {
      ASSERT_TRUE(driver.add({{kData, malformed ? 0U : 8U, true}}));
    }
    ASSERT_TRUE(second.add({{kData, 8, true}}));
    // Both at once: the thread finds the endless one first, or the other.
    thread->run_sync([&] {
      (void)driver.offer();
      (void)second.offer();
      runner->doorbell().signal();
      second_runner->doorbell().signal();
      runner->kick_once();
      second_runner->kick_once();
    });
    ASSERT_TRUE(eventually([&] { return bystander.waited != UINT32_MAX; }));
    EXPECT_LE(bystander.waited, 2 * QueueRunner::kMaxChainsInOneTurn);
    // Where completions are shown one by one the driver can refill without end.
    const unsigned all = features.event_idx && !malformed ? EndlessHandler::kRequests : 4;
    EXPECT_TRUE(eventually([&] { return endless.answered >= all; })) << endless.answered;
    second_runner->stop();
    runner->stop();
    runner->set_handler(handler.get());
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, QueueRunnerTest,
                         ::testing::Values(Mode{NotifyMode::kIoEventFd, false, true},
                                           Mode{NotifyMode::kIoEventFd, true, true},
                                           Mode{NotifyMode::kIoEventFd, false, false},
                                           Mode{NotifyMode::kSync, false, true},
                                           Mode{NotifyMode::kSync, true, false}),
                         [](const auto& which) {
                           return std::string(to_string(which.param.notify)) +
                                  (which.param.epoll ? "_epoll" : "_io_uring") +
                                  (which.param.event_idx ? "_event_idx" : "_flags");
                         });

}  // namespace
}  // namespace bellhop
