#pragma once

#include <chrono>
#include <optional>
#include <vector>

#include "event/event_loop.h"

namespace bellhop {

/// A wait for whatever comes.
inline constexpr auto kForever = std::chrono::nanoseconds::max();

/// The timers of one loop, in the order in which they fall due. They are few (one for a queue that
/// polls, one for a device at most), so a sorted array beats a heap. Used by the loop's thread
/// only.
class TimerList {
 public:
  using Clock = std::chrono::steady_clock;

  TimerList() { timers_.reserve(kExpected); }

  /// Starts or moves. Allocates only beyond `kExpected` timers at once.
  void start(TimerHandler& handler, std::chrono::nanoseconds delay);
  void stop(TimerHandler& handler) noexcept;
  /// Calls what is due now; a timer started by a handler waits for the next call, even if due.
  void run_due() noexcept;
  [[nodiscard]] bool empty() const noexcept { return timers_.empty(); }
  /// How long until the first one is due, cut to `limit`; never negative.
  [[nodiscard]] std::chrono::nanoseconds wait(std::chrono::nanoseconds limit) const noexcept;

 private:
  static constexpr std::size_t kExpected = 64;
  struct Timer {
    Clock::time_point due;
    TimerHandler* handler;
  };
  std::vector<Timer> timers_;
};

}  // namespace bellhop
