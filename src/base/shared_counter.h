#pragma once

#include <atomic>
#include <cstdint>

namespace bellhop {

/// A count with any number of writers and readers. An add is a locked instruction: for what is
/// rare, such as faults. Where there is one writer at a time, RelaxedCounter costs less.
class SharedCounter {
 public:
  void add(std::uint64_t n = 1) noexcept { value_.fetch_add(n, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t get() const noexcept {
    return value_.load(std::memory_order_relaxed);
  }

 private:
  std::atomic<std::uint64_t> value_{0};
};

}  // namespace bellhop
