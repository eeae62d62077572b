#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace bellhop {

/// So much of something in a second, and no more: the generic cell rate algorithm, in nanoseconds.
/// Each unit that goes moves the time at which the next is due by the rate's interval; what goes
/// may be ahead of its time by the burst. So a taker that wakes late catches up, and the rate is
/// exact over any time that is long beside the burst. Any thread: no lock. Takers that come at the
/// same moment by wait() and take() may be ahead by one take each; by take_if_due() by one, all
/// together.
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
  /// The same as wait(), and take() if that says now: one of those that ask at the same moment gets
  /// what is left.
  [[nodiscard]] bool take_if_due(Clock::time_point now, std::uint64_t amount) noexcept {
    const std::int64_t cost = cost_of(amount);
    const std::int64_t latest = since_epoch(now) + burst_.load(std::memory_order_relaxed);
    std::int64_t due = due_.load(std::memory_order_relaxed);
    do {
      if (due > latest) return false;
    } while (!due_.compare_exchange_weak(due, std::max(due, since_epoch(now)) + cost,
                                         std::memory_order_relaxed));
    return true;
  }
  /// What was taken has not gone.
  void put_back(std::uint64_t amount) noexcept {
    due_.fetch_sub(cost_of(amount), std::memory_order_relaxed);
  }
  /// `amount` goes now.
  void take(Clock::time_point now, std::uint64_t amount) noexcept {
    const std::int64_t cost = cost_of(amount);
    std::int64_t due = due_.load(std::memory_order_relaxed);
    while (!due_.compare_exchange_weak(due, std::max(due, since_epoch(now)) + cost,
                                       std::memory_order_relaxed)) {
    }
  }

 private:
  [[nodiscard]] std::int64_t cost_of(std::uint64_t amount) const noexcept {
    return static_cast<std::int64_t>(static_cast<double>(amount) *
                                     interval_.load(std::memory_order_relaxed));
  }
  [[nodiscard]] static std::int64_t since_epoch(Clock::time_point now) noexcept {
    return std::chrono::duration_cast<Duration>(now.time_since_epoch()).count();
  }

  static constexpr std::int64_t kRested = INT64_MIN / 2;

  std::atomic<double> interval_;  ///< nanoseconds for one
  std::atomic<std::int64_t> burst_;
  std::atomic<std::int64_t> due_;  ///< when the next unit is, on the clock
};

}  // namespace bellhop
