#pragma once

#include <chrono>

#include "event/io_thread.h"
#include "virtio/queue/interrupt.h"
#include "virtio/ring/queue_counters.h"

namespace bellhop {

/// Puts a queue's interrupts off, so that one tells the driver of all that is done within a time:
/// `coalesce=`. An interrupt comes no later than that after it was first asked for, but for what
/// the I/O thread does at that moment. Whether the vector is masked, or another, is looked at when
/// it comes.
///
/// I/O thread.
class InterruptDelay final : private TimerHandler {
 public:
  struct Queue {
    IoThread* thread = nullptr;
    GuestInterrupt* interrupt = nullptr;
    QueueCounters* counters = nullptr;
    const char* device = "";  ///< and the queue's number, for the probe
    unsigned number = 0;
  };
  InterruptDelay(std::chrono::nanoseconds time, const Queue& queue) noexcept
      : time_(time), queue_(queue) {}
  InterruptDelay(const InterruptDelay&) = delete;
  InterruptDelay& operator=(const InterruptDelay&) = delete;

  /// An interrupt is to come.
  void ask() noexcept;
  /// Now, if one is to come: nothing is put off when this returns.
  void end() noexcept;

 private:
  void on_timer() noexcept override;

  std::chrono::nanoseconds time_;
  Queue queue_;
  bool asked_ = false;
};

}  // namespace bellhop
