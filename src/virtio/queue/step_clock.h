#pragma once

#include <cstddef>
#include <cstdint>

#include "virtio/queue/request_times.h"

namespace bellhop {

/// Says which step of which queue's requests the CPU time of one thread goes to. Whoever serves a
/// queue tells it what comes now; what goes by until the next word is charged to that.
///
/// To read a thread's CPU clock is a system call, so most of the time nobody does: a burst of some
/// cycles of work is clocked, then so many are let by that reading takes less than kMostPart of the
/// thread's own CPU time. What a reading itself takes is measured once and taken off.
///
/// One for each thread. Allocates nothing.
class StepClock {
 public:
  /// Nanoseconds of the CPU time of the thread that asks.
  using ReadClock = std::uint64_t (*)() noexcept;
  /// A hundredth.
  static constexpr std::uint64_t kMostPart = 100;
  /// A burst ends with the first cycle after so many readings.
  static constexpr unsigned kReadingsInBurst = 32;

  explicit StepClock(ReadClock read = &read_thread_clock) noexcept : read_(read) {}

  static StepClock& of_this_thread() noexcept;
  static std::uint64_t read_thread_clock() noexcept;

  /// A cycle of work begins, with this step. `account` stays until leave() or the next word of
  /// another.
  void begin(StepCpu& account, std::size_t step) noexcept;
  /// Another step of the same or of another queue.
  void go(StepCpu& account, std::size_t step) noexcept {
    if (clocked_) change(&account, step);
  }
  /// What follows is no queue's.
  void leave() noexcept {
    if (clocked_) change(nullptr, 0);
  }
  /// `account` is about to go.
  void forget(const StepCpu& account) noexcept {
    if (account_ == &account) account_ = nullptr;
  }
  /// Whether this is part of a burst: what is counted belongs to what is clocked.
  [[nodiscard]] bool clocked() const noexcept { return clocked_; }
  /// What a reading takes, nanoseconds; 0 before the first burst.
  [[nodiscard]] std::uint64_t reading_ns() const noexcept { return reading_ns_; }

 private:
  void change(StepCpu* account, std::size_t step) noexcept;
  void calibrate() noexcept;
  void start_burst() noexcept;
  void end_burst() noexcept;

  ReadClock read_;
  StepCpu* account_ = nullptr;
  std::size_t step_ = 0;
  std::uint64_t since_ = 0;
  bool clocked_ = false;
  std::uint64_t reading_ns_ = 0;
  std::uint64_t let_by_ = 0;  ///< cycles before the next burst
  std::uint64_t readings_ = 0;
  std::uint64_t cycles_ = 0;
  std::int64_t used_ns_ = 0;  ///< in this burst, readings not counted
  std::uint64_t random_ = 0x9e37'79b9'7f4a'7c15;
};

}  // namespace bellhop
