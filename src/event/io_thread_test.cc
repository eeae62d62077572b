#include "event/io_thread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/syscall.h>

#include <atomic>
#include <cerrno>
#include <fstream>

#include "testing/refused_call.h"

namespace bellhop {
namespace {

std::string comm_of(int tid) {
  std::ifstream file("/proc/self/task/" + std::to_string(tid) + "/comm");
  std::string name;
  std::getline(file, name);
  return name;
}

class IoThreadTest : public ::testing::TestWithParam<bool> {
 protected:
  static IoThreadConfig config() {
    return {.name = "disks", .cpus = {}, .prefer_epoll = GetParam()};
  }
};

TEST_P(IoThreadTest, HasANameAThreadIdAndALoop) {
  auto thread = IoThread::start(config());
  ASSERT_TRUE(thread) << thread.error().message;
  EXPECT_EQ(comm_of((*thread)->tid()), "disks");
  EXPECT_FALSE((*thread)->is_current());
  bool current = false;
  (*thread)->run_sync([&] {
    current = (*thread)->is_current();
    (*thread)->run_sync([&] { current = current && true; });  // on the thread itself: at once
  });
  EXPECT_TRUE(current);
  if (GetParam()) {
    EXPECT_EQ((*thread)->loop().kind(), LoopKind::kEpoll);
  }
}

// As a machine's counters do while it runs: the thread sanitizer sees a plain integer.
TEST_P(IoThreadTest, CountsSystemCallsForOtherThreads) {
  auto thread = IoThread::start(config());
  ASSERT_TRUE(thread) << thread.error().message;
  std::uint64_t before = (*thread)->loop().system_calls();
  for (int i = 0; i < 100; ++i) {
    (*thread)->run_sync([] {});
    const std::uint64_t now = (*thread)->loop().system_calls();
    EXPECT_GE(now, before);
    before = now;
  }
  EXPECT_GT(before, 0U);
}

TEST_P(IoThreadTest, CutsALongName) {
  auto wanted = config();
  wanted.name = "a-name-of-more-than-fifteen-bytes";
  auto thread = IoThread::start(wanted);
  ASSERT_TRUE(thread);
  EXPECT_EQ(comm_of((*thread)->tid()), "a-name-of-more-");
}

TEST_P(IoThreadTest, RunsOnItsCpus) {
  const unsigned cpu = allowed_cpus().back();
  auto wanted = config();
  wanted.cpus = {cpu};
  auto thread = IoThread::start(wanted);
  ASSERT_TRUE(thread) << thread.error().message;
  int seen = -1;
  (*thread)->run_sync([&] { seen = ::sched_getcpu(); });
  EXPECT_EQ(seen, static_cast<int>(cpu));
  const unsigned other = allowed_cpus().front();
  ASSERT_TRUE((*thread)->set_cpus({other}));
  (*thread)->run_sync([&] { seen = ::sched_getcpu(); });
  EXPECT_EQ(seen, static_cast<int>(other));
}

TEST_P(IoThreadTest, SaysThatACpuIsNotThere) {
  auto wanted = config();
  wanted.cpus = {1000};
  auto thread = IoThread::start(wanted);
  ASSERT_FALSE(thread);
  EXPECT_THAT(thread.error().message,
              ::testing::AllOf(::testing::HasSubstr("disks"), ::testing::HasSubstr("1000")));
}

TEST_P(IoThreadTest, StartsAndStopsManyTimes) {
  for (int i = 0; i < 200; ++i) {
    auto thread = IoThread::start(config());
    ASSERT_TRUE(thread);
    if (i % 2 == 0) (*thread)->run_sync([] {});
  }
}

// A loop with watches and timers that nobody took off goes down without a trace.
TEST_P(IoThreadTest, StopsWithAWatchLeftOver) {
  struct Handler final : EventHandler {
    std::atomic<int> calls{0};
    void on_event(std::uint64_t) noexcept override { ++calls; }
  } handler;
  auto event = EventFd::create();
  ASSERT_TRUE(event);
  {
    auto thread = IoThread::start(config());
    ASSERT_TRUE(thread);
    (*thread)->run_sync([&] { ASSERT_TRUE((*thread)->loop().watch(*event, handler)); });
  }
  event->signal();
  EXPECT_EQ(handler.calls, 0);
  EXPECT_EQ(event->consume(), 1U);
}

TEST(IoThreadLoop, EpollTakesThePlaceOfAnIoUringThatIsRefusedUnlessItIsNamed) {
  with_refused_call(SYS_io_uring_setup, EPERM, [] {
    const auto any = IoThread::start({.name = "any", .cpus = {}});
    ASSERT_TRUE(any) << any.error().message;
    EXPECT_EQ((*any)->loop().kind(), LoopKind::kEpoll);
    const auto named = IoThread::start({.name = "disks", .cpus = {}, .need_uring = true});
    ASSERT_FALSE(named);
    EXPECT_THAT(named.error().message,
                ::testing::StartsWith("I/O thread disks: loop=io_uring is not to be had here: "));
    EXPECT_EQ(named.error().code, EPERM);
  });
}

INSTANTIATE_TEST_SUITE_P(Kinds, IoThreadTest, ::testing::Bool(),
                         [](const auto& epoll) { return epoll.param ? "epoll" : "io_uring"; });

}  // namespace
}  // namespace bellhop
