#include "virtio/queue/notify_choice.h"

#include <algorithm>
#include <cmath>

namespace bellhop {

namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

constexpr std::array kAllModes = {NotifyMode::kSync, NotifyMode::kIoEventFd, NotifyMode::kPoll};

constexpr nanoseconds kTrialSlot = 25ms;
/// After which a slot of a trial may end, where its way is behind.
constexpr nanoseconds kFirstPart = 10ms;
constexpr nanoseconds kShortestPart = 5ms;
constexpr nanoseconds kHoldSlot = 50ms;
/// A queue without a single request is not to wake anybody for nothing: it is looked at again after
/// an eighth of the time for which it has had none, and not later.
constexpr nanoseconds kLongestIdleSlot = 800ms;
constexpr int kPartOfIdle = 8;
/// A slot of a trial with fewer requests goes on, up to this.
constexpr std::uint64_t kEnough = 64;
constexpr nanoseconds kLongestSlot = 200ms;

constexpr double kBusy = 500;  // requests a second: with fewer there is nothing to be had
constexpr nanoseconds kFirstDwell = 1s;
constexpr nanoseconds kLongestDwell = 30s;
constexpr unsigned kMostRounds = 3;

/// What must lie between two modes before one of them is the better one.
constexpr double kMargin = 1.05;
constexpr double kMarginOfSecond = 1.10;
/// So far apart that their spread does not matter.
constexpr double kClearly = 1.25;
/// A mode that is so much behind is left out of the next trials: of one more each time.
constexpr double kFarBehind = 2;
constexpr unsigned kTrialsWithout = 3;
/// Another workload.
constexpr double kOtherRate = 1.6;
constexpr unsigned kSlotsOff = 3;

double per_second(std::uint64_t count, nanoseconds time) noexcept {
  return static_cast<double>(count) * 1e9 /
         static_cast<double>(std::max<nanoseconds::rep>(time.count(), 1));
}

/// What decides between ways that are equal.
constexpr Optimize other_of(Optimize optimize) noexcept {
  return optimize == Optimize::kEfficiency ? Optimize::kThroughput : Optimize::kEfficiency;
}

/// Requests seen outstanding, and one: where looks meet few, none at all is no more than chance.
double seen(const NotifySample& sum) noexcept { return static_cast<double>(sum.outstanding + 1); }

/// Requests outstanding, in the mean. One where there was no look.
double outstanding(const NotifySample& sum) noexcept {
  return sum.looks == 0 ? 1 : seen(sum) / static_cast<double>(sum.looks);
}

/// The more the better.
double value(const NotifySample& sum, Optimize optimize) noexcept {
  switch (optimize) {
    case Optimize::kThroughput:
      break;
    case Optimize::kEfficiency:
      return per_second(sum.requests, sum.cpu);
    case Optimize::kLatency:
      // One by the seconds that a request takes.
      return per_second(sum.requests, sum.wall) / outstanding(sum);
  }
  return per_second(sum.requests, sum.wall);
}

/// Of what must lie between two, the part that is owed to chance: three times the error of
/// what was counted. The more looks, the less.
double doubt(const NotifySample& one, const NotifySample& other, Optimize optimize) noexcept {
  if (optimize != Optimize::kLatency || one.looks == 0 || other.looks == 0) return 0;
  return 3 * std::sqrt(1 / seen(one) + 1 / seen(other));
}

}  // namespace

nanoseconds NotifyChoice::slot() const noexcept {
  if (phase_ == Phase::kTrial) {
    if (pending_.wall == 0ns) return kFirstPart;
    return pending_.wall < kTrialSlot ? std::max(kTrialSlot - pending_.wall, kShortestPart)
                                      : kTrialSlot;
  }
  return phase_ == Phase::kIdle ? idle_slot_ : kHoldSlot;
}

NotifyMode NotifyChoice::take(const NotifySample& sample, bool may_try) noexcept {
  if (phase_ == Phase::kTrial) {
    add_slot(sample);
    return mode_;
  }
  const bool busy = per_second(sample.requests, sample.wall) >= kBusy;
  const bool silent = phase_ == Phase::kIdle && sample.requests == 0;
  idle_slot_ =
      silent ? std::min(idle_slot_ + idle_slot_ / kPartOfIdle, kLongestIdleSlot) : kIdleSlot;
  if (!busy) {
    phase_ = Phase::kIdle;
    return mode_;
  }
  if (phase_ == Phase::kIdle) {
    // What was found before the pause is taken for true until the next trial is due.
    phase_ = Phase::kHold;
    rate_ = 0;
    off_ = 0;
  }
  held_ += sample.wall;
  const bool changed = rate_has_changed(sample);
  if (changed) {
    dwell_ = 0ns;
    forget();
  }
  if (may_try && held_ >= dwell_) begin_trial();
  return mode_;
}

NotifyMode NotifyChoice::refused(NotifyMode mode) noexcept {
  if (phase_ == Phase::kTrial && mode_ != best_) {
    arm(mode_).left_out = kTrialsWithout + 1;  // this one among them
    begin_trial();
  } else {
    best_ = mode;
    dwell_ = 0ns;
    hold(mode);
  }
  return mode_;
}

bool NotifyChoice::rate_has_changed(const NotifySample& sample) noexcept {
  const double now = per_second(sample.requests, sample.wall);
  if (rate_ == 0) rate_ = now;
  const bool off = now > rate_ * kOtherRate || now * kOtherRate < rate_;
  off_ = off ? off_ + 1 : 0;
  if (off_ < kSlotsOff) return false;
  off_ = 0;
  rate_ = now;
  return true;
}

// ---- a trial ----

void NotifyChoice::begin_trial() noexcept {
  phase_ = Phase::kTrial;
  rounds_ = 0;
  for (Arm& one : arms_) {
    Arm anew;
    anew.left_out = one.left_out;
    anew.far = one.far;
    anew.clearly = one.clearly;
    one = anew;
  }
  plan_round();
}

/// What trials have found out holds no more.
void NotifyChoice::forget() noexcept {
  for (Arm& one : arms_) one = {};
}

/// There and back, beginning with what holds: no change is needed for that one, nor between the
/// slots in the middle.
void NotifyChoice::plan_round() noexcept {
  at_ = 0;
  planned_ = 0;
  if (rounds_ == 0 || may_win(best_)) plan_[planned_++] = best_;
  for (const NotifyMode mode : kAllModes) {
    if (mode == best_) continue;
    if (arm(mode).left_out > 0) {
      if (rounds_ == 0) --arm(mode).left_out;
      continue;
    }
    // From the second round on only what could still win.
    if (rounds_ == 0 || may_win(mode)) plan_[planned_++] = mode;
  }
  if (planned_ == 0) plan_[planned_++] = best_;
  for (std::size_t i = planned_; i > 0; --i) plan_[planned_++] = plan_[i - 1];
  pending_ = {};
  mode_ = plan_[0];
}

void NotifyChoice::add_slot(const NotifySample& sample) noexcept {
  pending_ += sample;
  Arm& one = arm(mode_);
  const bool whole = pending_.wall >= kTrialSlot &&
                     (pending_.requests >= kEnough || pending_.wall >= kLongestSlot);
  if (falls_behind()) {
    one.given_up = true;
  } else if (!whole) {
    return;
  }
  const double worth = value(pending_, optimize_);
  one.least = one.slots == 0 ? worth : std::min(one.least, worth);
  one.most = one.slots == 0 ? worth : std::max(one.most, worth);
  one.sum += pending_;
  ++one.slots;
  const bool stopped = pending_.requests == 0;
  pending_ = {};
  if (stopped) {
    // The guest has nothing more to do; what was measured says nothing.
    hold(best_);
    phase_ = Phase::kIdle;
    dwell_ = 0ns;
    return;
  }
  const Arm* const best = best_so_far();
  while (++at_ < planned_) {
    Arm& next = arm(plan_[at_]);
    if (best != nullptr && next.slots != 0 && far_behind(next, *best)) next.given_up = true;
    if (!next.given_up) break;
  }
  if (at_ < planned_) {
    mode_ = plan_[at_];
  } else {
    end_round();
  }
}

/// Of what this trial has tried; null: nothing.
const NotifyChoice::Arm* NotifyChoice::best_so_far() const noexcept {
  const Arm* best = nullptr;
  for (const Arm& one : arms_) {
    if (one.slots == 0) continue;
    if (best == nullptr || value(one.sum, optimize_) > value(best->sum, optimize_)) best = &one;
  }
  return best;
}

/// Whether the slot under way has shown enough: another way is so much better that the rest of it
/// would change nothing.
bool NotifyChoice::falls_behind() const noexcept {
  const Arm* const best = best_so_far();
  const Arm& one = arm(mode_);
  // None at all: the guest has stopped, perhaps.
  if (best == nullptr || best == &one || pending_.requests == 0) return false;
  // What the other would have done in this time must be enough to go by.
  const double others = per_second(best->sum.requests, best->sum.wall) *
                        static_cast<double>(pending_.wall.count()) / 1e9;
  if (others < static_cast<double>(kEnough)) return false;
  const double factor =
      (one.clearly ? kClearly : kFarBehind) * (1 + doubt(pending_, best->sum, optimize_));
  return value(pending_, optimize_) * factor < value(best->sum, optimize_);
}

bool NotifyChoice::far_behind(const Arm& one, const Arm& other) const noexcept {
  const double factor = kFarBehind * (1 + doubt(one.sum, other.sum, optimize_));
  return value(one.sum, optimize_) * factor < value(other.sum, optimize_);
}

/// By the objective; where that leaves the two equal, or by chance apart, by the other one.
bool NotifyChoice::better(const Arm& one, const Arm& other) const noexcept {
  const double first = value(one.sum, optimize_);
  const double second = value(other.sum, optimize_);
  const double margin = kMargin * (1 + doubt(one.sum, other.sum, optimize_));
  if (first > second * margin) return true;
  if (first * margin < second) return false;
  const Optimize tie = other_of(optimize_);
  return value(one.sum, tie) > value(other.sum, tie) * kMarginOfSecond;
}

/// Whether more slots could make it better.
bool NotifyChoice::may_be_better(const Arm& one, const Arm& other) const noexcept {
  return one.slots != 0 &&
         (value(one.sum, optimize_) > value(other.sum, optimize_) * kMargin || better(one, other));
}

/// Whether more slots could make it the winner.
bool NotifyChoice::may_win(NotifyMode mode) const noexcept {
  const Arm& one = arm(mode);
  const Arm& best = *best_so_far();
  if (one.slots == 0 || one.given_up) return false;
  if (clearly_behind(one, best)) return false;
  return mode == best_ || may_be_better(one, arm(best_));
}

/// Whether the slots of two leave no doubt which is better.
bool NotifyChoice::apart(const Arm& one, const Arm& other) const noexcept {
  const double first = value(one.sum, optimize_);
  const double second = value(other.sum, optimize_);
  return first > second * kClearly || second > first * kClearly || one.least > other.most ||
         other.least > one.most;
}

void NotifyChoice::end_round() noexcept {
  ++rounds_;
  NotifyMode winner = best_;
  bool sure = true;
  for (const NotifyMode mode : kAllModes) {
    if (mode == winner || !may_be_better(arm(mode), arm(winner))) continue;
    if (better(arm(mode), arm(winner))) {
      sure = apart(arm(mode), arm(winner));
      winner = mode;
    } else {
      sure = false;
    }
  }
  if (!sure && rounds_ < kMostRounds) {
    plan_round();
    return;
  }
  for (const NotifyMode mode : kAllModes) {
    Arm& one = arm(mode);
    if (one.slots == 0) continue;
    one.far = far_behind(one, arm(winner)) ? std::min(one.far + 1, kTrialsWithout) : 0;
    one.left_out = one.far;
    one.clearly = clearly_behind(one, arm(winner));
  }
  const bool by_little =
      value(arm(winner).sum, optimize_) < value(arm(best_).sum, optimize_) * kClearly;
  const nanoseconds before = std::max(dwell_, kFirstDwell);
  hold(winner);
  // Between two that are much the same it does not matter which; the next trial has time.
  if (by_little) dwell_ = std::max(dwell_, before);
}

void NotifyChoice::hold(NotifyMode mode) noexcept {
  const bool again = mode == best_ && dwell_ > 0ns;
  phase_ = Phase::kHold;
  mode_ = best_ = mode;
  held_ = 0ns;
  dwell_ = again ? std::min(2 * dwell_, kLongestDwell) : kFirstDwell;
  rate_ = 0;
  off_ = 0;
}

}  // namespace bellhop
