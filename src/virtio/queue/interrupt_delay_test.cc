#include "virtio/queue/interrupt_delay.h"

#include <gtest/gtest.h>

#include "testing/test_memory.h"

namespace bellhop {
namespace {

using testing::must;
using namespace std::chrono_literals;

/// What the test's own clock finds when its time has come.
class Witness final : public TimerHandler {
 public:
  explicit Witness(const EventFd& event) : event_(event) {}
  void on_timer() noexcept override {
    found_ = event_.consume();
    came_.set_value();
  }
  void wait() { came_.get_future().wait(); }
  [[nodiscard]] std::uint64_t found() const { return found_; }

 private:
  const EventFd& event_;
  std::uint64_t found_ = 0;
  std::promise<void> came_;
};

class InterruptDelayTest : public ::testing::Test {
 protected:
  InterruptDelayTest() { interrupt.point_at(&event); }

  std::unique_ptr<IoThread> thread = must(IoThread::start({}));
  EventFd event = must(EventFd::create());
  GuestInterrupt interrupt;
  QueueCounters counters;
};

/// A timer of the same time that is started after the first request falls due after the interrupt:
/// whatever the host does meanwhile, the interrupt is there by then.
TEST_F(InterruptDelayTest, ComesNoLaterThanItsTimeAfterTheFirst) {
  for (const auto time : {0ns, 1000ns, 200'000ns, 3'000'000ns}) {
    InterruptDelay delay(time, {thread.get(), &interrupt, &counters});
    Witness look(event);
    thread->run_sync([&] {
      delay.ask();
      EXPECT_FALSE(event.consume()) << "not at once";
      thread->loop().start_timer(look, time);
      delay.ask();  // later ones do not move it
      delay.ask();
    });
    look.wait();
    EXPECT_EQ(look.found(), 1U) << "one for all of them, " << time.count() << " ns";
    thread->run_sync([&] { delay.end(); });
    EXPECT_FALSE(event.consume()) << "nothing was left";
  }
  EXPECT_EQ(counters.interrupts.get(), 4U);
  EXPECT_EQ(counters.interrupts_saved.get(), 8U);
}

TEST_F(InterruptDelayTest, TheEndLosesNothing) {
  InterruptDelay delay(1h, {thread.get(), &interrupt, &counters});
  thread->run_sync([&] {
    delay.ask();
    delay.end();
    EXPECT_EQ(event.consume(), 1U);
    delay.end();
    EXPECT_FALSE(event.consume()) << "once";
    delay.ask();
    delay.end();
    EXPECT_EQ(event.consume(), 1U) << "and it can be asked for again";
  });
}

/// Where it goes is looked at when it comes: the driver may have moved or closed its vector.
TEST_F(InterruptDelayTest, GoesWhereTheInterruptPointsThen) {
  const EventFd other = must(EventFd::create());
  InterruptDelay delay(1h, {thread.get(), &interrupt, &counters});
  thread->run_sync([&] {
    delay.ask();
    interrupt.point_at(&other);
    delay.end();
    EXPECT_FALSE(event.consume());
    EXPECT_EQ(other.consume(), 1U);
    delay.ask();
    interrupt.point_at(nullptr);
    delay.end();
  });
  EXPECT_EQ(counters.interrupts.get(), 1U) << "NO_VECTOR: none";
}

}  // namespace
}  // namespace bellhop
