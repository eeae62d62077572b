#include "virtio/queue/early_show.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <thread>

#include "testing/eventually.h"
#include "testing/queue_runner_fixture.h"

namespace bellhop {
namespace {

/// How many batches are shown as a whole until early showing is tried again.
unsigned pause_of(EarlyShow& early) {
  unsigned batches = 0;
  for (; !early.pays(); ++batches) early.batch_over();
  return batches;
}

TEST(EarlyShowTest, PaysUntilItCostsTheThreadItsCpu) {
  EarlyShow early;
  EXPECT_TRUE(early.pays());
  early.weigh(false);
  EXPECT_TRUE(early.pays());
  early.weigh(true);
  EXPECT_FALSE(early.pays());
  EXPECT_EQ(pause_of(early), EarlyShow::kFirstPause);
}

TEST(EarlyShowTest, TriesAgainMoreAndMoreSeldomWhileItDoesNotPay) {
  EarlyShow early;
  unsigned pause = EarlyShow::kFirstPause;
  for (int i = 0; i < 12; ++i) {
    early.weigh(true);
    EXPECT_EQ(pause_of(early), pause);
    pause = std::min(2 * pause, EarlyShow::kMaxPause);
  }
  EXPECT_EQ(pause, EarlyShow::kMaxPause);
  early.weigh(false);
  early.weigh(true);
  EXPECT_EQ(pause_of(early), EarlyShow::kFirstPause) << "something has changed";
}

TEST(EarlyShowTest, ASignalThatWakesNobodyCostsNoCpu) {
  const auto event = EventFd::create();
  ASSERT_TRUE(event);
  EarlyShow early;
  // Another process may take the CPU just then, now and then.
  EXPECT_TRUE(testing::eventually([&] {
    while (!early.pays()) early.batch_over();
    early.signal(*event);
    return early.pays();
  }));
  EXPECT_GE(event->consume(), 1U);
}

void stay_on(int cpu) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<unsigned>(cpu), &one);
  EXPECT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
}
/// Once this thread is woken, it takes its CPU from others at once. False: it may not.
bool go_first() {
  const sched_param first{.sched_priority = 1};
  return ::sched_setscheduler(0, SCHED_FIFO, &first) == 0;
}
/// The same by the other one, which then has little of a busy machine.
void give_way() {
  const sched_param none{};
  EXPECT_EQ(::sched_setscheduler(0, SCHED_IDLE, &none), 0);
}
/// Sleeps until it is signalled.
void wait_for(const EventFd& event) {
  pollfd waits{.fd = event.get(), .events = POLLIN, .revents = 0};
  const auto most = std::chrono::milliseconds(testing::kPatience);
  EXPECT_EQ(::poll(&waits, 1, static_cast<int>(most.count())), 1)
      << "no interrupt: a notification was lost";
  (void)event.consume();
}

TEST(EarlyShowTest, ASignalThatWakesWhoTakesTheCpuIsSeen) {
  const auto event = EventFd::create();
  ASSERT_TRUE(event);
  const int cpu = ::sched_getcpu();
  std::atomic<bool> end{false};
  std::promise<bool> is_first;
  std::thread driver([&] {
    stay_on(cpu);
    is_first.set_value(go_first());
    while (!end.load()) wait_for(*event);
  });
  bool seen = false;
  std::thread device([&] {
    stay_on(cpu);
    if (!is_first.get_future().get()) give_way();
    EarlyShow early;
    seen = testing::eventually([&] {
      ::usleep(1000);  // the driver sleeps again
      early.signal(*event);
      return !early.pays();
    });
  });
  device.join();
  end = true;
  event->signal();
  driver.join();
  EXPECT_TRUE(seen);
}

/// A queue whose driver shares the I/O thread's CPU, and goes first.
class SharedCpuTest : public testing::QueueRunnerTest {
 protected:
  static constexpr int kBatch = 16;

  /// Offers `size` at once, and sleeps until all are back; and so on.
  void run_batches(int count, int size = kBatch) {
    for (int i = 0; i < count && !HasFailure(); ++i) {
      for (int k = 0; k < size; ++k) EXPECT_TRUE(driver.add({{kData, 8, true}}));
      if (driver.offer()) ring();
      for (int back = 0; back < size && !HasFailure();) {
        if (driver.reap()) {
          ++back;
        } else if (!driver.enable_interrupts()) {
          wait_for(call);
        }
      }
    }
  }

  /// `work` on a driver's thread that shares the I/O thread's CPU. False: it could not go first,
  /// and the I/O thread has given way.
  template <class Work>
  bool beside_the_device(Work work) {
    const int cpu = ::sched_getcpu();
    thread->run_sync([cpu] { stay_on(cpu); });
    start();
    bool first = false;
    std::thread guest([&] {
      stay_on(cpu);
      first = go_first();
      if (!first) thread->run_sync(give_way);
      work();
    });
    guest.join();
    return first;
  }
};

// If each answer woke the driver there would be an interrupt for each.
TEST_P(SharedCpuTest, BatchesDoNotComeApart) {
  constexpr int kBatches = 100;
  const bool first = beside_the_device([this] { run_batches(kBatches); });
  EXPECT_EQ(runner->counters().completions.get(), unsigned{kBatch * kBatches});
  const std::uint64_t interrupts = runner->counters().interrupts.get();
  EXPECT_LE(interrupts, unsigned{2 * kBatches});
  // The device never works while this driver does: a batch is an interrupt, and a try one more.
  if (first) {
    EXPECT_GE(interrupts, unsigned{kBatches + 3}) << "it tries again now and then";
  }
}

// One request cannot come apart: what its signal costs is not looked at, and says nothing.
TEST_P(SharedCpuTest, ABatchOfOneTellsNothing) {
  std::uint64_t before = 0;
  const bool first = beside_the_device([&] {
    run_batches(50, 1);
    before = runner->counters().interrupts.get();
    run_batches(1);
  });
  const std::uint64_t after = runner->counters().interrupts.get();
  if (first) {
    EXPECT_EQ(before, 50U);
    EXPECT_EQ(after - before, 2U) << "the first answer, and all the others";
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, SharedCpuTest,
                         ::testing::Values(testing::RunnerMode{NotifyMode::kIoEventFd, false, true},
                                           testing::RunnerMode{NotifyMode::kIoEventFd, true, true},
                                           testing::RunnerMode{NotifyMode::kPoll, false, true},
                                           testing::RunnerMode{NotifyMode::kIoEventFd, false, true,
                                                               true}),
                         [](const auto& which) { return which.param.name(); });

}  // namespace
}  // namespace bellhop
