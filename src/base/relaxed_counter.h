#pragma once

#include <atomic>
#include <cstdint>

namespace bellhop {

/// A count with one writer at a time and any number of readers: a plain increment for the writer,
/// never a torn value for a reader.
class RelaxedCounter {
 public:
  void add(std::uint64_t n = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  /// For something that was counted and then undone.
  void take_back(std::uint64_t n = 1) noexcept { add(0 - n); }
  [[nodiscard]] std::uint64_t get() const noexcept {
    return value_.load(std::memory_order_relaxed);
  }

 private:
  std::atomic<std::uint64_t> value_{0};
};

}  // namespace bellhop
