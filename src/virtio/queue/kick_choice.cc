#include "virtio/queue/kick_choice.h"

#include <algorithm>

namespace bellhop {

namespace {

constexpr std::uint64_t kKickCost = 1;
constexpr std::uint64_t kExitCost = 3;  // more, if user space passes it on
constexpr std::uint64_t kInterruptCost = 2;
constexpr std::uint64_t kScale = 1024;  // costs are for so many requests
/// An interrupt for more than 32 requests: there is nothing to be had.
constexpr std::uint64_t kWorthATry = kInterruptCost * kScale / 32;

}  // namespace

void KickChoice::begin_window(const QueueCounters& counters) noexcept {
  chains_ = counters.chains.get();
  kicks_ = counters.kicks.get();
  exits_ = counters.kicks_by_exit.get();
  interrupts_ = counters.interrupts.get();
}

void KickChoice::end_window(const QueueCounters& counters, bool answered) noexcept {
  const std::uint64_t chains = counters.chains.get() - chains_;
  const std::uint64_t cost = (kKickCost * (counters.kicks.get() - kicks_) +
                              kExitCost * (counters.kicks_by_exit.get() - exits_) +
                              kInterruptCost * (counters.interrupts.get() - interrupts_)) *
                             kScale / chains;
  begin_window(counters);
  cost_[asks_ ? 1 : 0] = cost;
  if (asks_ == asking_is_better_) {
    if (!asks_ && (cost < kWorthATry || !answered)) {
      left_ = 0;  // at once when there is
    } else if (left_ != 0) {
      --left_;
    } else {
      asks_ = !asks_;
    }
    return;
  }
  const bool better = cost_[1] < cost_[0];
  if (better != asking_is_better_) pause_ = 1;  // something has changed
  asks_ = asking_is_better_ = better;
  left_ = pause_;
  pause_ = std::min(2 * pause_, kMaxPause);
}

}  // namespace bellhop
