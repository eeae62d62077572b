#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "virtio/queue/notify_mode.h"

namespace bellhop {

/// What the user wants most of the host.
enum class Optimize : std::uint8_t {
  kThroughput,  ///< requests a second; between equals, requests for each CPU second
  kEfficiency,  ///< requests for each CPU second; between equals, requests a second
  kLatency,     ///< a short time for each request; between equals, requests for each CPU second
};

inline constexpr Optimize kObjectives[] = {Optimize::kThroughput, Optimize::kEfficiency,
                                           Optimize::kLatency};

/// As optimize= takes it.
constexpr const char* to_string(Optimize optimize) noexcept {
  switch (optimize) {
    case Optimize::kThroughput:
      return "throughput";
    case Optimize::kEfficiency:
      return "efficiency";
    case Optimize::kLatency:
      return "latency";
  }
  return "";
}
/// Each with its word, for who reads it.
inline const std::initializer_list<std::pair<std::string_view, Optimize>> kObjectiveWords = {
    {to_string(Optimize::kThroughput), Optimize::kThroughput},
    {to_string(Optimize::kEfficiency), Optimize::kEfficiency},
    {to_string(Optimize::kLatency), Optimize::kLatency}};

/// How a queue is to be notified.
struct NotifyWish {
  NotifyMode mode = NotifyMode::kIoEventFd;
  Optimize optimize = Optimize::kThroughput;  ///< with NotifyMode::kAdaptive
};

/// What a queue did in a slot of time.
struct NotifySample {
  std::uint64_t requests = 0;
  std::chrono::nanoseconds wall{0};
  std::chrono::nanoseconds cpu{0};  ///< of all threads of the process; only looked at in a trial
  /// With NotifyChoice::looks(): requests that were outstanding, added up over so many looks at
  /// moments that the queue has no part in. No looks: it cannot be seen how many are.
  std::uint64_t outstanding = 0;
  std::uint64_t looks = 0;

  NotifySample& operator+=(const NotifySample& other) noexcept {
    requests += other.requests;
    wall += other.wall;
    cpu += other.cpu;
    outstanding += other.outstanding;
    looks += other.looks;
    return *this;
  }
};

/// Which way of notification one queue is to have: chosen among sync, ioeventfd and poll by trying
/// them. What a way costs depends on what the guest does meanwhile, where the threads run and who
/// else wants the CPUs, so there is no model here, only measured slots.
///
/// A trial gives each way two slots, in an order that reads the same from both ends, so that a
/// drift hits all alike; if the best two lie too close together for their spread, it goes on. Its
/// winner is held for a second, and for twice as long each time that a trial finds it best again.
/// Quite another rate is another workload: a trial at once. A queue with little to do is left as it
/// is.
///
/// What cannot win is not measured to the end: a slot ends early, and has no second one, where its
/// way is far behind; or clearly behind and was so when it was tried before. A way that is far
/// behind again and again is tried in one of two, three, four trials.
///
/// Latency is known by Little's law: the mean number of requests outstanding, for requests a
/// second. Where the former cannot be seen it is taken for the same in all ways.
///
/// A value of one thread. It knows no clock: its user measures slots as long as slot(), after a
/// pause of kSettle where the mode has just changed, and hands them to take().
class NotifyChoice {
 public:
  static constexpr std::chrono::milliseconds kSettle{5};

  NotifyChoice(Optimize optimize, NotifyMode first) noexcept
      : optimize_(optimize), mode_(first), best_(first) {}

  /// How the queue is to be notified now.
  [[nodiscard]] NotifyMode mode() const noexcept { return mode_; }
  /// How long the next sample is to be.
  [[nodiscard]] std::chrono::nanoseconds slot() const noexcept;
  /// Whether a trial is under way.
  [[nodiscard]] bool trying() const noexcept { return phase_ == Phase::kTrial; }
  /// Whether the next sample is to have looks at the requests outstanding.
  [[nodiscard]] bool looks() const noexcept { return trying() && optimize_ == Optimize::kLatency; }

  /// What came of a slot in mode(). Returns the mode of the next one. Without `may_try` no trial
  /// begins: another queue has one, which would measure ours.
  NotifyMode take(const NotifySample& sample, bool may_try) noexcept;
  /// The mode that take(), or this, has returned cannot be had now; the queue is still in `mode`. A
  /// trial begins again without it. Returns the mode of the next slot.
  NotifyMode refused(NotifyMode mode) noexcept;

 private:
  enum class Phase : std::uint8_t { kIdle, kTrial, kHold };
  static constexpr std::size_t kModes = 3;
  static constexpr std::size_t kSlots = 2 * kModes;
  static constexpr std::chrono::milliseconds kIdleSlot{50};

  /// All slots of one mode in the present trial.
  struct Arm {
    NotifySample sum = {};
    double least = 0;  ///< of the slots, by the objective
    double most = 0;
    unsigned slots = 0;
    bool given_up = false;  ///< no more slots of it in this trial
    // From one trial to the next:
    unsigned left_out = 0;  ///< trials without it, since it was far behind, or refused
    unsigned far = 0;       ///< trials in a row that found it far behind
    bool clearly = false;   ///< the last one with it found it clearly behind
  };

  [[nodiscard]] Arm& arm(NotifyMode mode) noexcept { return arms_[static_cast<std::size_t>(mode)]; }
  [[nodiscard]] const Arm& arm(NotifyMode mode) const noexcept {
    return arms_[static_cast<std::size_t>(mode)];
  }
  [[nodiscard]] bool better(const Arm& one, const Arm& other) const noexcept;
  [[nodiscard]] bool may_be_better(const Arm& one, const Arm& other) const noexcept;
  [[nodiscard]] bool may_win(NotifyMode mode) const noexcept;
  [[nodiscard]] bool apart(const Arm& one, const Arm& other) const noexcept;
  void begin_trial() noexcept;
  void plan_round() noexcept;
  void add_slot(const NotifySample& sample) noexcept;
  [[nodiscard]] bool falls_behind() const noexcept;
  [[nodiscard]] bool far_behind(const Arm& one, const Arm& other) const noexcept;
  [[nodiscard]] bool clearly_behind(const Arm& one, const Arm& other) const noexcept {
    return better(other, one) && apart(other, one);
  }
  [[nodiscard]] const Arm* best_so_far() const noexcept;
  void forget() noexcept;
  void end_round() noexcept;
  void hold(NotifyMode mode) noexcept;
  [[nodiscard]] bool rate_has_changed(const NotifySample& sample) noexcept;

  Optimize optimize_;
  Phase phase_ = Phase::kIdle;
  NotifyMode mode_;
  NotifyMode best_;
  std::array<Arm, kModes> arms_{};
  std::array<NotifyMode, kSlots> plan_{};
  std::size_t planned_ = 0;
  std::size_t at_ = 0;
  unsigned rounds_ = 0;
  NotifySample pending_;               ///< a slot of the trial that had too few requests so far
  std::chrono::nanoseconds held_{0};   ///< since the last trial
  std::chrono::nanoseconds dwell_{0};  ///< how long to hold
  std::chrono::nanoseconds idle_slot_{kIdleSlot};  ///< longer, the longer there was no request
  double rate_ = 0;                                ///< requests a second when the hold began
  unsigned off_ = 0;                               ///< samples in a row with another rate
};

}  // namespace bellhop
