#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>

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

/// Keeps to both, for all that share it. Any thread.
class Throttle {
 public:
  using Clock = RateLimit::Clock;

  explicit Throttle(const Rates& rates) {
    if (rates.units != 0) units_.emplace(rates.units, rates.burst);
    if (rates.bytes != 0) bytes_.emplace(rates.bytes, rates.burst);
  }

  /// How long to wait before more may go; 0: now.
  [[nodiscard]] std::chrono::nanoseconds wait(Clock::time_point now) const noexcept {
    std::chrono::nanoseconds longest{0};
    if (units_) longest = std::max(longest, units_->wait(now));
    if (bytes_) longest = std::max(longest, bytes_->wait(now));
    return longest;
  }
  /// So much goes now.
  void take(Clock::time_point now, std::uint64_t units, std::uint64_t bytes) noexcept {
    if (units_) units_->take(now, units);
    if (bytes_) bytes_->take(now, bytes);
  }
  /// A queue that had to wait so long goes on.
  void count_wait(std::chrono::nanoseconds time) noexcept {
    times.add();
    nanoseconds.add(static_cast<std::uint64_t>(time.count()));
  }

  SharedCounter times;        ///< that a queue had to wait
  SharedCounter nanoseconds;  ///< for how long, all queues together

 private:
  std::optional<RateLimit> units_;
  std::optional<RateLimit> bytes_;
};

}  // namespace bellhop
