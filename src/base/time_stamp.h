#pragma once

#include <x86intrin.h>

#include <chrono>
#include <cstdint>

namespace bellhop {

/// The processor's time-stamp counter: the clock of what is measured inside of a request, where a
/// system clock would cost as much as what it measures. The same on all CPUs of a host whose TSC is
/// invariant, as Linux asks of one before it makes it the clock.
inline std::uint64_t read_time_stamp() noexcept { return __rdtsc(); }

/// How fast it counts, by the system's clock: exact to 0.1 % once some 10 ms have gone by.
class TimeStampRate {
 public:
  TimeStampRate() noexcept : stamp_(read_time_stamp()), time_(Clock::now()) {}

  /// Counts in a second, since this was made.
  [[nodiscard]] double hertz() const noexcept {
    const std::chrono::duration<double> seconds = Clock::now() - time_;
    return static_cast<double>(read_time_stamp() - stamp_) / seconds.count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  std::uint64_t stamp_;
  Clock::time_point time_;
};

}  // namespace bellhop
