#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/histogram.h"

namespace bellhop {

/// Points in the life of a request, in their order.
enum class RequestPoint : std::uint8_t {
  kOffered,    ///< the driver has put it into the ring; known if the driver says so
  kServed,     ///< the thread that drains has come to the queue, and the request was there
  kTaken,      ///< out of the ring
  kSubmitted,  ///< its batch goes to the back end
  kAnswered,   ///< by the back end
  kShown,      ///< in the used ring
  kSignalled,  ///< the interrupt is asked for, or needless
  kSeen,       ///< the driver has found it; known if the driver says so
};
inline constexpr std::size_t kRequestPoints = 8;
/// From one point to the next.
inline constexpr std::size_t kRequestSteps = kRequestPoints - 1;

/// When a request came to each point, in cycles of this host's time-stamp counter; 0 is unknown.
struct RequestLife {
  std::array<std::uint64_t, kRequestPoints> at{};

  [[nodiscard]] std::uint64_t& operator[](RequestPoint point) noexcept {
    return at[static_cast<std::size_t>(point)];
  }
  [[nodiscard]] std::uint64_t operator[](RequestPoint point) const noexcept {
    return at[static_cast<std::size_t>(point)];
  }
};

/// What the threads that serve a queue spent of their CPU time in each step, in the bursts of work
/// that were clocked (StepClock).
struct StepCpu {
  /// May be less than 0 where a step is as short as what reading the clock takes.
  std::array<std::int64_t, kRequestSteps> ns{};
  std::uint64_t taken = 0;     ///< requests in these bursts
  std::uint64_t answered = 0;  ///< the same, counted when they are done
};

/// Where the time of a queue's requests went. A plain value, in the same cycles.
struct RequestTimes {
  std::uint64_t requests = 0;
  /// Of them, those whose driver said when it offered and found them. Their steps are all known.
  std::uint64_t by_driver = 0;
  /// What the driver said of a request cannot be: its clock is not ours.
  std::uint64_t disordered = 0;
  std::array<Histogram, kRequestSteps> steps;
  Histogram total;  ///< from the first known point to the last
  StepCpu cpu;
  std::vector<RequestLife> last;  ///< the last requests, the oldest first
};

}  // namespace bellhop
