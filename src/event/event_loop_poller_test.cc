#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <thread>
#include <utility>

#include "testing/event_loop_fixture.h"
#include "testing/eventually.h"

namespace bellhop {
namespace {

using testing::EventLoopTest;
using testing::FunctionTask;
using testing::Recorder;
using namespace std::chrono_literals;

/// Has work after so many looks.
struct CountingPoller final : Poller {
  explicit CountingPoller(EventLoop& l) : loop(l), task([this] { ++served; }) {}
  bool poll() noexcept override {
    ++looks;
    if (takes > 0ms) std::this_thread::sleep_for(std::exchange(takes, 0ms));
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
  [[nodiscard]] Look look() const noexcept override { return wants; }
  [[nodiscard]] std::uint64_t work_done() const noexcept override { return done; }
  EventLoop& loop;
  FunctionTask task;
  std::chrono::milliseconds takes{0};  ///< the next look
  std::size_t looks = 0;
  std::size_t found_at = SIZE_MAX;
  int asked = 0;
  int served = 0;
  bool slipped_in = false;
  bool under_way = false;
  Look wants = Look::kWhileItPays;
  std::uint64_t done = 0;
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

TEST_P(EventLoopTest, ALookThatLostTheCpuIsPaidBack) {
  CountingPoller poller(*loop);
  loop->add_poller(poller);
  loop->set_poll_max(50ms);
  // As where others get the CPU that the look gave away, and work comes meanwhile.
  std::chrono::steady_clock::time_point lost;
  ASSERT_TRUE(testing::eventually([&] {
    loop->run_once(1us);  // short, for credit, if this machine is not too busy
    poller.looks = 0;
    poller.takes = 150ms;
    poller.slipped_in = true;
    loop->run_once(10s);
    lost = std::chrono::steady_clock::now();
    return poller.looks > 0;
  }));
  poller.looks = 0;
  EXPECT_TRUE(testing::eventually([&] {
    loop->run_once(1us);
    return poller.looks > 0;
  })) << "not for ever";
  EXPECT_GE(std::chrono::steady_clock::now() - lost, 1s) << "eight times as long, or nearly";
}

TEST_P(EventLoopTest, ALookThatMissedByChanceIsNot) {
  CountingPoller poller(*loop);
  loop->add_poller(poller);
  loop->set_poll_max(200ms);
  EXPECT_TRUE(testing::eventually([&] {
    loop->run_once(1us);
    poller.looks = 0;
    poller.slipped_in = true;
    loop->run_once(10s);  // nothing for all of the time, then something
    if (poller.looks == 0) return false;
    poller.looks = 0;
    loop->run_once(1us);
    return poller.looks > 0;
  }));
}

TEST_P(EventLoopTest, DoesNotLookForWhoDoesNotWantIt) {
  CountingPoller never(*loop);
  never.wants = Look::kNever;
  loop->add_poller(never);
  loop->set_poll_max(1ms);
  for (int i = 0; i < 16; ++i) loop->run_once(100us);  // short sleeps, which others learn from
  EXPECT_EQ(never.looks, 0U);
  EXPECT_EQ(never.asked, 16);
  // Whoever wants it has the loop look, for everybody; until it is gone.
  CountingPoller often(*loop);
  loop->add_poller(often);
  for (int i = 0; i < 16; ++i) loop->run_once(100us);
  EXPECT_GT(never.looks, 0U);
  loop->remove_poller(often);
  never.looks = 0;
  for (int i = 0; i < 16; ++i) loop->run_once(100us);
  EXPECT_EQ(never.looks, 0U);
  loop->remove_poller(never);
}

TEST_P(EventLoopTest, LooksForWhatIsPolledWithoutAnyExperience) {
  CountingPoller poller(*loop);
  poller.wants = Look::kAlways;
  loop->add_poller(poller);
  loop->set_poll_idle(10s);
  poller.found_at = 1000;
  loop->run_once(10s);
  EXPECT_EQ(poller.looks, 1000U);
  EXPECT_EQ(poller.served, 1);
  EXPECT_EQ(poller.asked, 0) << "nobody has to ring";
  loop->remove_poller(poller);
}

TEST_P(EventLoopTest, SleepsWhenWhatIsPolledHasBeenIdleForAWhile) {
  CountingPoller poller(*loop);
  poller.wants = Look::kAlways;
  loop->add_poller(poller);
  loop->set_poll_idle(2ms);
  loop->run_once(10ms);
  EXPECT_GT(poller.looks, 0U);
  EXPECT_EQ(poller.asked, 1);
  // What wakes the loop besides does not count.
  poller.looks = 0;
  loop->run_once(1ms);
  EXPECT_EQ(poller.looks, 0U);
  EXPECT_EQ(poller.asked, 2);
  ++poller.done;
  loop->run_once(10ms);
  EXPECT_GT(poller.looks, 0U) << "there is traffic again";
  loop->remove_poller(poller);
}

TEST_P(EventLoopTest, LookingLongKeepsNobodyElseWaiting) {
  CountingPoller poller(*loop);
  poller.wants = Look::kAlways;
  loop->add_poller(poller);
  // Who is not heard is heard when the loop has looked for all its time: after the end of patience.
  constexpr auto kLook = 8s;
  constexpr auto kPatience = 6s;
  loop->set_poll_idle(kLook);
  Recorder heard;
  const auto begin = std::chrono::steady_clock::now();
  const auto rounds_until = [&](auto condition) {
    while (!condition() && std::chrono::steady_clock::now() - begin < kPatience) {
      loop->run_once(kLook);
    }
    EXPECT_TRUE(condition());
  };
  loop->start_timer(heard, 1ms);
  rounds_until([&] { return heard.timers != 0; });
  const EventFd event = make_event();
  ASSERT_TRUE(loop->watch(event, heard).has_value());
  std::thread signaller([&] {
    std::this_thread::sleep_for(2ms);
    event.signal();
  });
  rounds_until([&] { return heard.events != 0; });
  signaller.join();
  bool posted = false;
  std::thread sender([&] { loop->post([&] { posted = true; }); });
  rounds_until([&] { return posted; });
  sender.join();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kPatience)
      << "it looked for all its time first";
  loop->unwatch(event);
  loop->remove_poller(poller);
}

}  // namespace
}  // namespace bellhop
