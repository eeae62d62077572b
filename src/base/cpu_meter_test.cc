#include "base/cpu_meter.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <time.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "testing/refused_call.h"

namespace bellhop {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

nanoseconds now_of(clockid_t clock) {
  ::timespec time{};
  EXPECT_EQ(::clock_gettime(clock, &time), 0);
  return std::chrono::seconds(time.tv_sec) + nanoseconds(time.tv_nsec);
}

/// Computes until it has used so much CPU time; returns what it has used.
nanoseconds burn(nanoseconds time) {
  const nanoseconds begin = now_of(CLOCK_THREAD_CPUTIME_ID);
  nanoseconds used{0};
  while (used < time) used = now_of(CLOCK_THREAD_CPUTIME_ID) - begin;
  return used;
}

TEST(CpuMeter, CountsWhatThisThreadUses) {
  CpuMeter meter;
  meter.begin();
  const nanoseconds burnt = burn(20ms);
  const nanoseconds used = meter.used();
  EXPECT_GE(used, burnt);
  meter.begin();
  EXPECT_LT(meter.used(), burnt);
}

TEST(CpuMeter, CountsOtherThreadsExactly) {
  std::atomic<bool> started{false};
  std::atomic<bool> go{false};
  std::atomic<bool> done{false};
  nanoseconds burnt{0};
  std::thread other([&] {
    started = true;
    while (!go) std::this_thread::sleep_for(1ms);
    burnt = burn(20ms);
    done = true;
    while (go) std::this_thread::sleep_for(1ms);
  });
  while (!started) std::this_thread::sleep_for(1ms);
  CpuMeter meter;
  meter.begin();
  const nanoseconds own = now_of(CLOCK_THREAD_CPUTIME_ID);
  go = true;
  while (!done) std::this_thread::sleep_for(1ms);
  const nanoseconds used = meter.used() - (now_of(CLOCK_THREAD_CPUTIME_ID) - own);
  go = false;
  other.join();
  EXPECT_GE(used, burnt - 1ms);
}

TEST(CpuMeter, AThreadThatHasEndedIsNotCounted) {
  std::atomic<bool> go{false};
  std::thread other([&] {
    while (!go) std::this_thread::sleep_for(1ms);
  });
  CpuMeter meter;
  meter.begin();
  go = true;
  other.join();
  EXPECT_GE(meter.used(), 0ns);
}

TEST(CpuMeter, WithoutADescriptorTheClockOfTheProcessCounts) {
  with_refused_call(SYS_openat, EMFILE, [] {
    CpuMeter meter;
    meter.begin();
    const nanoseconds burnt = burn(50ms);
    EXPECT_GE(meter.used(), burnt / 2);
  });
}

}  // namespace
}  // namespace bellhop
