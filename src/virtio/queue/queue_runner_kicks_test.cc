// Whether kicks are asked for while the I/O thread is awake: see KickChoice.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "testing/queue_runner_fixture.h"

namespace bellhop {
namespace {

using testing::eventually;
using testing::QueueRunnerTest;
using Mode = testing::RunnerMode;

/// Looks at the queue in each round, and keeps the loop from ever sleeping.
class Watchman final : public Task {
 public:
  Watchman(EventLoop& loop, QueueRunner& runner) : loop_(loop), runner_(runner) {}
  void run() noexcept override {
    std::this_thread::yield();  // a driver may have to share the CPU
    loop_.defer(runner_);
    loop_.defer(*this);
  }

 private:
  EventLoop& loop_;
  QueueRunner& runner_;
};

/// Gives each request back once the driver kicks or sleeps, so that the order is always the same.
/// If told so, parks when it has taken what there is; not for a kick that comes after its request.
class PatientHandler final : public QueueHandler {
 public:
  explicit PatientHandler(QueueRunner& runner) : runner_(runner) {}
  void drain() noexcept override {
    bool took_some = false;
    while (runner_.pop(chain_) == Pop::kChain) {
      took_some = true;
      if (!eventually([this] { return driver_waits.exchange(false); })) std::abort();
      runner_.complete(chain_, 1);
    }
    if (!parks || !took_some) return;
    runner_.park();
    ++parked;
  }
  void submit() noexcept override {}

  std::atomic<bool> driver_waits{false};
  bool parks = false;  ///< I/O thread
  std::atomic<int> parked{0};

 private:
  QueueRunner& runner_;
  DescriptorChain chain_;
};

class AwakeQueueTest : public QueueRunnerTest {
 protected:
  static constexpr int kWindow = KickChoice::kWindow;

  AwakeQueueTest() : patient(*runner), watchman_(thread->loop(), *runner) {
    runner->set_handler(&patient);
  }
  ~AwakeQueueTest() override { sleep(); }
  /// The queue runs from here on, and its thread does not sleep.
  void wake(RingState state = {}) {
    start(state);
    thread->run_sync([this] { thread->loop().defer(watchman_); });
  }
  /// Nobody looks at a queue that does not run.
  std::optional<RingState> sleep() {
    thread->run_sync([this] { thread->loop().cancel_deferred(watchman_); });
    return runner->stop();
  }
  /// A driver with one request outstanding. While it kicks, the request is done; without a kick it
  /// sleeps at once. Whether it kicked.
  bool one_request() {
    EXPECT_TRUE(driver.add({{kData, 8, true}}));
    const bool kicks = driver.offer();
    EXPECT_TRUE(kicks || !driver.enable_interrupts());
    patient.driver_waits = true;
    kicks ? ring() : wait_for_call();
    EXPECT_TRUE(eventually([this] { return driver.reap().has_value(); })) << "lost";
    driver.suppress_interrupts();
    return kicks;
  }
  int kicks_in(int requests) {
    int kicks = 0;
    for (int i = 0; i < requests && !HasFailure(); ++i) kicks += one_request() ? 1 : 0;
    return kicks;
  }

  PatientHandler patient;

 private:
  Watchman watchman_;
};

TEST_P(AwakeQueueTest, KicksTakeThePlaceOfInterruptsWhereTheDriverWouldSleep) {
  wake();
  EXPECT_LE(kicks_in(kWindow), kWindow / 4);
  // Now and then there is a window without, to see what it costs.
  EXPECT_GE(kicks_in(40 * kWindow), 32 * kWindow);
  const QueueCounters& counters = runner->counters();
  EXPECT_EQ(counters.completions.get(), 41U * kWindow);
  EXPECT_LE(counters.interrupts.get(), 10U * kWindow);
  // They find the ring empty, and are not for nothing all the same.
  EXPECT_LE(counters.spurious_kicks.get(), 10U);
  const std::uint64_t before = counters.spurious_kicks.get();
  EXPECT_TRUE(eventually([&] {
    ring();
    return counters.spurious_kicks.get() != before;
  })) << "these are";
}

TEST_P(AwakeQueueTest, ARingStartedAnewIsNotAskedAtOnce) {
  wake();
  kicks_in(2 * kWindow);
  const auto state = sleep();
  ASSERT_TRUE(state.has_value());
  wake(*state);
  EXPECT_LE(kicks_in(kWindow), kWindow / 4);
  EXPECT_GE(kicks_in(kWindow), kWindow * 3 / 4);
}

TEST_P(AwakeQueueTest, AParkedQueueIsNotAsked) {
  wake();
  EXPECT_GE(kicks_in(2 * kWindow), kWindow * 3 / 4);
  thread->run_sync([this] { patient.parks = true; });
  one_request();
  EXPECT_TRUE(eventually([&] { return patient.parked != 0; }));
  ASSERT_TRUE(driver.add({{kData, 8, true}}));
  EXPECT_FALSE(driver.offer()) << "a kick would be spurious";
  patient.driver_waits = true;
  thread->run_sync([&] {
    patient.parks = false;
    runner->wake();
  });
  EXPECT_TRUE(eventually([this] { return driver.reap().has_value(); }));
}

INSTANTIATE_TEST_SUITE_P(Modes, AwakeQueueTest,
                         ::testing::Values(Mode{NotifyMode::kIoEventFd, false, true},
                                           Mode{NotifyMode::kIoEventFd, true, true},
                                           Mode{NotifyMode::kIoEventFd, false, false},
                                           Mode{NotifyMode::kIoEventFd, false, true, true}),
                         [](const auto& which) { return which.param.name(); });

}  // namespace
}  // namespace bellhop
