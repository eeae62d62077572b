#include "event/timer_list.h"

#include <algorithm>

namespace bellhop {

void TimerList::start(TimerHandler& handler, std::chrono::nanoseconds delay) {
  stop(handler);
  const Timer timer{Clock::now() + std::max(delay, std::chrono::nanoseconds(0)), &handler};
  // After its equals: those that were started first fire first.
  const auto position = std::ranges::upper_bound(timers_, timer.due, {}, &Timer::due);
  timers_.insert(position, timer);
}

void TimerList::stop(TimerHandler& handler) noexcept {
  std::erase_if(timers_, [&](const Timer& timer) { return timer.handler == &handler; });
}

void TimerList::run_due() noexcept {
  if (timers_.empty()) return;
  // A handler may start and stop timers, so the list is looked at afresh after each one; those
  // started meanwhile fall due after `now` and end the walk.
  const Clock::time_point now = Clock::now();
  while (!timers_.empty() && timers_.front().due <= now) {
    TimerHandler* const handler = timers_.front().handler;
    timers_.erase(timers_.begin());
    handler->on_timer();
  }
}

std::chrono::nanoseconds TimerList::wait(std::chrono::nanoseconds limit) const noexcept {
  if (timers_.empty() || limit <= std::chrono::nanoseconds(0)) return limit;
  const auto until = timers_.front().due - Clock::now();
  return std::clamp<std::chrono::nanoseconds>(until, std::chrono::nanoseconds(0), limit);
}

}  // namespace bellhop
