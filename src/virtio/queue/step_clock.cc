#include "virtio/queue/step_clock.h"

#include <time.h>

#include <algorithm>
#include <array>

namespace bellhop {

namespace {

constexpr std::uint64_t kNanoseconds = 1'000'000'000;
// A clock that stood still, or work of no length, must not end the sampling for good.
constexpr std::uint64_t kMostLetBy = 1 << 16;

}  // namespace

std::uint64_t StepClock::read_thread_clock() noexcept {
  ::timespec time{};
  (void)::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * kNanoseconds +
         static_cast<std::uint64_t>(time.tv_nsec);
}

StepClock& StepClock::of_this_thread() noexcept {
  thread_local StepClock clock;
  return clock;
}

void StepClock::begin(StepCpu& account, std::size_t step) noexcept {
  if (clocked_) {
    if (readings_ < kReadingsInBurst) {
      ++cycles_;
      return change(&account, step);
    }
    end_burst();
  }
  if (let_by_ > 0) {
    --let_by_;
    return;
  }
  start_burst();
  account_ = &account;
  step_ = step;
}

void StepClock::change(StepCpu* account, std::size_t step) noexcept {
  if (account_ == account && step_ == step) return;
  const std::uint64_t now = read_();
  ++readings_;
  if (account_ != nullptr) {
    const auto used =
        static_cast<std::int64_t>(now - since_) - static_cast<std::int64_t>(reading_ns_);
    account_->ns[step_] += used;
    used_ns_ += used;
  }
  account_ = account;
  step_ = step;
  since_ = now;
}

void StepClock::start_burst() noexcept {
  if (reading_ns_ == 0) calibrate();
  clocked_ = true;
  readings_ = 1;
  cycles_ = 1;
  used_ns_ = 0;
  since_ = read_();
}

/// Reading took `readings_ * reading_ns_` for `cycles_` cycles of `used_ns_` together.
void StepClock::end_burst() noexcept {
  change(nullptr, 0);
  clocked_ = false;
  const auto used = static_cast<std::uint64_t>(std::max<std::int64_t>(used_ns_, 1));
  const std::uint64_t cycles = kMostPart * readings_ * reading_ns_ * cycles_ / used;
  let_by_ = std::clamp<std::uint64_t>(cycles, 1, kMostLetBy);
  // A little more, and never the same: cycles may have a period of their own.
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  let_by_ += random_ % (let_by_ / 4 + 1);
}

/// The median of some: an interrupt between two of them counts for nothing.
void StepClock::calibrate() noexcept {
  constexpr std::size_t kPairs = 33;
  std::array<std::uint64_t, kPairs> taken{};
  std::uint64_t before = read_();
  for (std::uint64_t& each : taken) {
    const std::uint64_t now = read_();
    each = now - before;
    before = now;
  }
  std::ranges::nth_element(taken, taken.begin() + kPairs / 2);
  reading_ns_ = std::max<std::uint64_t>(taken[kPairs / 2], 1);
}

}  // namespace bellhop
