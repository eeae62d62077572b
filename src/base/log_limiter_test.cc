#include "base/log_limiter.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace bellhop::log {
namespace {

Limiter::Clock::time_point now_in_test;
Limiter::Clock::time_point test_now() { return now_in_test; }

std::string written(Limiter& limiter, int lines) {
  ::testing::internal::CaptureStderr();
  for (int i = 0; i < lines; ++i) limiter.warn("line {}", i);
  return ::testing::internal::GetCapturedStderr();
}
auto count_lines(const std::string& text) { return std::ranges::count(text, '\n'); }

TEST(LogLimiter, ABurstThenOneInEachInterval) {
  Limiter limiter(&test_now);
  EXPECT_EQ(count_lines(written(limiter, 1000)), Limiter::kBurst);
  EXPECT_EQ(written(limiter, 1), "");
  now_in_test += Limiter::kInterval - std::chrono::nanoseconds(1);
  EXPECT_EQ(written(limiter, 1), "");
  now_in_test += std::chrono::nanoseconds(1);
  const std::string later = written(limiter, 5);
  EXPECT_EQ(count_lines(later), 1);
  EXPECT_NE(later.find("(992 more lines were left out before)"), std::string::npos) << later;
}

TEST(LogLimiter, ItsEndTellsWhatWasLeftOutSince) {
  ::testing::internal::CaptureStderr();
  {
    Limiter limiter(&test_now);
    for (int i = 0; i < 1000; ++i) limiter.warn("line {}", i);
  }
  const std::string all = ::testing::internal::GetCapturedStderr();
  EXPECT_EQ(count_lines(all), Limiter::kBurst + 1);
  EXPECT_NE(all.find("warning: line 9 (990 more lines were left out since)"), std::string::npos)
      << all;
  ::testing::internal::CaptureStderr();
  { Limiter quiet(&test_now); }
  EXPECT_EQ(::testing::internal::GetCapturedStderr(), "");
}

TEST(LogLimiter, QuietTimesSaveUpNoMoreThanOneBurst) {
  Limiter limiter(&test_now);
  now_in_test += 1000 * Limiter::kInterval;
  EXPECT_EQ(count_lines(written(limiter, 1000)), Limiter::kBurst);
}

}  // namespace
}  // namespace bellhop::log
