#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "base/rate_limit.h"
#include "base/shared_counter.h"

namespace bellhop {

/// How much a disk may do in a second; 0: as much as it can.
struct BlkRates {
  std::uint64_t requests = 0;  ///< reads, writes, flushes, discards
  std::uint64_t bytes = 0;     ///< read and written
  std::chrono::nanoseconds burst = RateLimit::kBurst;

  [[nodiscard]] bool limited() const noexcept { return requests != 0 || bytes != 0; }
};

/// Keeps to it, for all queues of a disk.
class BlkThrottle {
 public:
  explicit BlkThrottle(const BlkRates& rates) {
    if (rates.requests != 0) requests_.emplace(rates.requests, rates.burst);
    if (rates.bytes != 0) bytes_.emplace(rates.bytes, rates.burst);
  }

  /// 0: a request of so many bytes goes now. Else how long it has to wait.
  [[nodiscard]] std::chrono::nanoseconds take(std::uint64_t bytes) noexcept {
    const auto now = RateLimit::Clock::now();
    std::chrono::nanoseconds wait{0};
    if (requests_) wait = std::max(wait, requests_->wait(now));
    if (bytes_) wait = std::max(wait, bytes_->wait(now));
    if (wait > std::chrono::nanoseconds(0)) return wait;
    if (requests_) requests_->take(now, 1);
    if (bytes_) bytes_->take(now, bytes);
    return wait;
  }

  SharedCounter times;        ///< that a queue had to wait
  SharedCounter nanoseconds;  ///< for how long, all queues together

 private:
  std::optional<RateLimit> requests_;
  std::optional<RateLimit> bytes_;
};

}  // namespace bellhop
