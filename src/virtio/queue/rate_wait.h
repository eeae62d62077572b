#pragma once

#include <chrono>
#include <cstdint>
#include <utility>

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
  /// `throttle` outlives it; null: there is no rate, and may_go() costs a look at that.
  RateWait(QueueRunner& runner, Throttle* throttle) noexcept
      : runner_(runner), throttle_(throttle) {}
  RateWait(const RateWait&) = delete;
  RateWait& operator=(const RateWait&) = delete;

  [[nodiscard]] bool may_go() noexcept { return throttle_ == nullptr || is_due(); }
  /// After a may_go() that said true: so much has gone.
  void gone(std::uint64_t units, std::uint64_t bytes) noexcept {
    if (throttle_ != nullptr) throttle_->take(now_, units, bytes);
  }
  /// After one that said false: parks the queue, and wakes it when more may go.
  void wait() noexcept {
    waits_ = true;
    waits_since_ = now_;
    runner_.park();
    runner_.thread().start_timer(*this, throttle_->wait(now_));
  }
  /// Before it goes. I/O thread.
  void stop() noexcept { runner_.thread().loop().stop_timer(*this); }

 private:
  [[gnu::noinline]] bool is_due() noexcept {
    now_ = Throttle::Clock::now();
    if (std::exchange(waits_, false)) throttle_->count_wait(now_ - waits_since_);
    return throttle_->wait(now_) <= std::chrono::nanoseconds(0);
  }
  void on_timer() noexcept override { runner_.wake(); }

  QueueRunner& runner_;
  Throttle* throttle_;
  Throttle::Clock::time_point now_;
  Throttle::Clock::time_point waits_since_;
  bool waits_ = false;
};

}  // namespace bellhop
