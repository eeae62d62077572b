#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace bellhop {

/// So much of something in a second, and no more: the generic cell rate algorithm, in nanoseconds.
/// Each unit that goes moves the time at which the next is due by the rate's interval; what goes
/// may be ahead of its time by the burst. So a taker that wakes late catches up, and the rate is
/// exact over any time that is long beside the burst. Any thread: no lock, and takers that come at
/// the same moment may be ahead by one unit each.
class RateLimit {
 public:
  using Clock = std::chrono::steady_clock;
  using Duration = std::chrono::nanoseconds;

  static constexpr Duration kBurst = std::chrono::milliseconds(10);
  static constexpr std::uint64_t kMost = 1'000'000'000'000;  ///< a second

  /// `per_second` is 1 to kMost.
  explicit RateLimit(std::uint64_t per_second, Duration burst = kBurst) noexcept {
    change(per_second, burst);
  }

  /// Another rate from now on; what is overdue or ahead by the old one is forgotten.
  void change(std::uint64_t per_second, Duration burst) noexcept {
    interval_.store(1e9 / static_cast<double>(per_second), std::memory_order_relaxed);
    burst_.store(burst.count(), std::memory_order_relaxed);
    due_.store(kRested, std::memory_order_relaxed);
  }

  /// How long to wait before anything may go; 0 or less: now. That may be more than the burst
  /// holds: it is due later for it.
  [[nodiscard]] Duration wait(Clock::time_point now) const noexcept {
    return Duration(due_.load(std::memory_order_relaxed) - burst_.load(std::memory_order_relaxed) -
                    since_epoch(now));
  }
  /// `amount` goes now.
  void take(Clock::time_point now, std::uint64_t amount) noexcept {
    const auto cost = static_cast<std::int64_t>(static_cast<double>(amount) *
                                                interval_.load(std::memory_order_relaxed));
    std::int64_t due = due_.load(std::memory_order_relaxed);
    while (!due_.compare_exchange_weak(due, std::max(due, since_epoch(now)) + cost,
                                       std::memory_order_relaxed)) {
    }
  }

 private:
  [[nodiscard]] static std::int64_t since_epoch(Clock::time_point now) noexcept {
    return std::chrono::duration_cast<Duration>(now.time_since_epoch()).count();
  }

  static constexpr std::int64_t kRested = INT64_MIN / 2;

  std::atomic<double> interval_;  ///< nanoseconds for one
  std::atomic<std::int64_t> burst_;
  std::atomic<std::int64_t> due_;  ///< when the next unit is, on the clock
};

}  // namespace bellhop
