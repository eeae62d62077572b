#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "base/throttle.h"
#include "event/event_loop.h"
#include "virtio/queue/queue_runner.h"

namespace bellhop {

/// One queue that keeps to a throttle, which others may share. Its handler asks before it takes
/// more; where the rate is used up it puts back what it has and waits, parked, until it is due.
///
/// In drain(), but for the timer and stop(), which are the I/O thread's.
class RateWait final : private TimerHandler {
 public:
  /// `own` counts its waits, too, if the throttle is not the device's own. Both outlive it. Where
  /// the throttle is not limited, pass() and may_go() cost a look at that.
  RateWait(QueueRunner& runner, Throttle& throttle, Throttle& own) noexcept
      : runner_(runner), throttle_(throttle), own_(own) {}
  RateWait(const RateWait&) = delete;
  RateWait& operator=(const RateWait&) = delete;

  /// False: all may go, and nothing else need be asked.
  [[nodiscard]] bool limited() const noexcept { return throttle_.limited(); }
  /// So much goes, unless it says false: wait() then.
  [[nodiscard]] bool pass(std::uint64_t units, std::uint64_t bytes) noexcept {
    return !throttle_.limited() || take_if_due(units, bytes);
  }
  /// The same in two steps, where it is not known before how much will go.
  [[nodiscard]] bool may_go() noexcept { return !throttle_.limited() || is_due(); }
  void gone(std::uint64_t units, std::uint64_t bytes) noexcept {
    if (throttle_.limited()) throttle_.take(now_, units, bytes);
  }
  /// After one that said false: parks the queue, and wakes it when more may go, or when it is time
  /// to see whether the rates have been changed.
  void wait() noexcept {
    if (!waits_) {
      waits_ = true;
      waits_since_ = now_;
      changes_ = throttle_.changes();
    }
    runner_.park();
    // Below 0: the rates have been changed since.
    runner_.thread().start_timer(
        *this, std::clamp<std::chrono::nanoseconds>(
                   throttle_.wait(now_), std::chrono::nanoseconds(0), Throttle::kLongest));
  }
  /// Before it goes. I/O thread.
  void stop() noexcept { runner_.thread().loop().stop_timer(*this); }

 private:
  [[gnu::noinline]] bool is_due() noexcept {
    now_ = Throttle::Clock::now();
    const bool due = throttle_.wait(now_) <= std::chrono::nanoseconds(0);
    note(due);
    return due;
  }
  [[gnu::noinline]] bool take_if_due(std::uint64_t units, std::uint64_t bytes) noexcept {
    now_ = Throttle::Clock::now();
    const bool due = throttle_.take_if_due(now_, units, bytes);
    note(due);
    return due;
  }
  void note(bool due) noexcept {
    // One that began by other rates is not counted: they may have been none for long.
    if (waits_ && throttle_.changes() == changes_) {
      throttle_.count_wait(now_ - waits_since_, due);
      if (&own_ != &throttle_) own_.count_wait(now_ - waits_since_, due);
      waits_since_ = now_;
    } else {
      waits_ = false;
    }
    if (due) waits_ = false;
  }
  void on_timer() noexcept override { runner_.wake(); }

  QueueRunner& runner_;
  Throttle& throttle_;
  Throttle& own_;
  Throttle::Clock::time_point now_;
  Throttle::Clock::time_point waits_since_;
  unsigned changes_ = 0;  ///< of the throttle, when the wait began
  bool waits_ = false;
};

}  // namespace bellhop
