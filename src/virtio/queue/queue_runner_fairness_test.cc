#include <gtest/gtest.h>

#include <atomic>
#include <future>

#include "testing/queue_runner_fixture.h"

namespace bellhop {
namespace {

using testing::eventually;
using testing::FakeDriver;
using testing::must;
using testing::ParkingHandler;
using testing::QueueRunnerTest;

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
  second->start(must(Ring::activate(memory, second_driver.config(), features, second->counters())));
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
    (void)driver_.add({{GuestAddress(0x800000), malformed_ ? 0U : 8U, true}});
    (void)driver_.offer();
  }

  /// The same where the whole batch was shown at once, after its last drain(). I/O thread.
  void offer_again() noexcept {
    while (driver_.reap()) {
    }
    (void)driver_.add({{GuestAddress(0x800000), 8U, true}});
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
        must(Ring::activate(memory, second.config(), features, second_runner->counters())));
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
    // Where completions are shown one by one the driver can refill without end; but for a batch now
    // and then whose first signal has cost the thread its CPU (EarlyShow).
    const bool endlessly = features.event_idx && !malformed;
    const unsigned all = endlessly ? EndlessHandler::kRequests : 4;
    EXPECT_TRUE(eventually([&] {
      if (endlessly) {
        thread->run_sync([&] { endless.offer_again(); });
        runner->kick_once();
      }
      return endless.answered >= all;
    })) << endless.answered;
    second_runner->stop();
    runner->stop();
    runner->set_handler(handler.get());
  }
}

// A vCPU that leaves work behind at every exit is quicker than an I/O thread that has other things
// to do: its messages must not pile up there.
TEST_P(QueueRunnerTest, WorkThatIsPassedOnAgainAndAgainIsOneMessage) {
  ParkingHandler counting(*runner);
  runner->set_handler(&counting);
  start();
  thread->run_sync([] {});
  const std::uint64_t before = counting.drains;
  std::promise<void> busy;
  thread->loop().post([&busy] { busy.get_future().wait(); });
  for (int i = 0; i < 1000; ++i) runner->kick_once();
  busy.set_value();
  thread->run_sync([] {});
  EXPECT_LE(counting.drains - before, 2U);
  // The next one is heard.
  counting.open_later(1);
  ASSERT_TRUE(driver.add({{kData, 8, true}}));
  (void)driver.offer();
  runner->kick_once();
  EXPECT_TRUE(eventually([&] { return counting.served == 1; }));
  runner->stop();
  runner->set_handler(handler.get());
}

// However much a guest offers meanwhile, its vCPU is back after one turn; the I/O thread goes on.
TEST_P(QueueRunnerTest, AVcpuDrainsForOneTurnOnly) {
  if (drain() != Drain::kByVcpu) return;
  for (const bool malformed : {false, true}) {
    driver = FakeDriver(memory, kRing, kSize, features);
    EndlessHandler endless(*runner, driver, malformed);
    runner->set_handler(&endless);
    start();
    thread->run_sync([] {});
    std::promise<void> busy;
    thread->loop().post([&busy] { busy.get_future().wait(); });
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(driver.add({{kData, malformed ? 0U : 8U, true}}));
    (void)driver.offer();
    runner->kick();
    EXPECT_LE(endless.answered, QueueRunner::kMaxChainsInOneTurn);
    busy.set_value();
    // Where completions are shown one by one the driver can refill without end.
    const unsigned all = features.event_idx && !malformed ? EndlessHandler::kRequests : 4;
    EXPECT_TRUE(eventually([&] { return endless.answered >= all; })) << endless.answered;
    runner->stop();
    runner->set_handler(handler.get());
  }
}

}  // namespace
}  // namespace bellhop
