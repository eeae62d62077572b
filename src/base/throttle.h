#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "base/rate_limit.h"
#include "base/shared_counter.h"

namespace bellhop {

/// How much may go in a second; 0: as much as can.
struct Rates {
  std::uint64_t units = 0;  ///< a disk's requests, a NIC's frames
  std::uint64_t bytes = 0;
  std::chrono::nanoseconds burst = RateLimit::kBurst;

  [[nodiscard]] bool limited() const noexcept { return units != 0 || bytes != 0; }
};

/// What keeps to rates that can be changed while it is used: a disk, a NIC. Who has something of a
/// more general type asks it whether it is one.
class RateLimited {
 public:
  /// Any thread, one call at a time. What waits by the old rates looks at the new ones within
  /// Throttle::kLongest.
  virtual void set_rates(const Rates& rates) noexcept = 0;

 protected:
  ~RateLimited() = default;
};

/// Keeps to both, for all that share it. Any thread.
class Throttle {
 public:
  using Clock = RateLimit::Clock;
  /// Who waits looks again after this, since the rates may have been changed.
  static constexpr std::chrono::milliseconds kLongest{100};

  explicit Throttle(const Rates& rates) noexcept { change(rates); }

  /// A rate that stays as it is, stays with what it has counted. One call at a time.
  void change(const Rates& rates) noexcept {
    units_.set(rates.units, rates.burst);
    bytes_.set(rates.bytes, rates.burst);
    limited_.store(rates.limited(), std::memory_order_relaxed);
    changes_.fetch_add(1, std::memory_order_relaxed);
  }
  /// False: all may go, and nothing else need be asked.
  [[nodiscard]] bool limited() const noexcept { return limited_.load(std::memory_order_relaxed); }
  /// How often it was changed: waits that began by other rates are not counted.
  [[nodiscard]] unsigned changes() const noexcept {
    return changes_.load(std::memory_order_relaxed);
  }

  /// How long to wait before more may go; 0 or less: now.
  [[nodiscard]] std::chrono::nanoseconds wait(Clock::time_point now) const noexcept {
    return std::max(units_.wait(now), bytes_.wait(now));
  }
  /// So much goes now, if wait() says so. Queues that ask at the same moment share what is left.
  [[nodiscard]] bool take_if_due(Clock::time_point now, std::uint64_t units,
                                 std::uint64_t bytes) noexcept {
    if (!units_.take_if_due(now, units)) return false;
    if (bytes_.take_if_due(now, bytes)) return true;
    units_.put_back(units);
    return false;
  }
  /// So much goes now.
  void take(Clock::time_point now, std::uint64_t units, std::uint64_t bytes) noexcept {
    units_.take(now, units);
    bytes_.take(now, bytes);
  }
  /// A queue has waited so long; `ended`: it goes on.
  void count_wait(std::chrono::nanoseconds time, bool ended) noexcept {
    if (ended) times.add();
    nanoseconds.add(static_cast<std::uint64_t>(time.count()));
  }

  SharedCounter times;        ///< that a queue had to wait
  SharedCounter nanoseconds;  ///< for how long, all queues together

 private:
  struct Part {
    std::atomic<std::uint64_t> rate{0};  ///< 0: none
    std::chrono::nanoseconds burst{0};   ///< change()'s
    RateLimit limit{1};

    [[nodiscard]] std::chrono::nanoseconds wait(Clock::time_point now) const noexcept {
      if (rate.load(std::memory_order_relaxed) == 0) return std::chrono::nanoseconds(0);
      return limit.wait(now);
    }
    void take(Clock::time_point now, std::uint64_t amount) noexcept {
      if (rate.load(std::memory_order_relaxed) != 0) limit.take(now, amount);
    }
    [[nodiscard]] bool take_if_due(Clock::time_point now, std::uint64_t amount) noexcept {
      return rate.load(std::memory_order_relaxed) == 0 || limit.take_if_due(now, amount);
    }
    void put_back(std::uint64_t amount) noexcept {
      if (rate.load(std::memory_order_relaxed) != 0) limit.put_back(amount);
    }
    void set(std::uint64_t its_rate, std::chrono::nanoseconds its_burst) noexcept {
      if (rate.load(std::memory_order_relaxed) == its_rate && burst == its_burst) return;
      burst = its_burst;
      if (its_rate != 0) limit.change(its_rate, its_burst);
      rate.store(its_rate, std::memory_order_relaxed);
    }
  };

  Part units_;
  Part bytes_;
  std::atomic<bool> limited_{false};  ///< either has a rate: one look for each request
  std::atomic<unsigned> changes_{0};
};

}  // namespace bellhop
