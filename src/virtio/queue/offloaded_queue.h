#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "base/result.h"
#include "base/unique_fd.h"
#include "event/io_thread.h"
#include "virtio/queue/interrupt.h"
#include "virtio/queue/queue_back_end.h"
#include "virtio/queue/queue_fault_sink.h"

namespace bellhop {

/// One queue that a back end outside of this process serves, the kernel's vhost or another process:
/// neither its kicks nor its interrupts come by here. It hands the ring over, takes it back, and
/// hears of its faults.
///
/// Control path, one call at a time, but for kick().
class OffloadedQueue final {
 public:
  struct Setup {
    IoThread* thread = nullptr;  ///< waits for the back end's faults
    GuestInterrupt* interrupt = nullptr;
    QueueFaultSink* faults = nullptr;
    QueueCounters* counters = nullptr;
    const EventFd* doorbell =
        nullptr;  ///< signalled by the driver's kicks; the back end waits for it
  };

  /// Errors: no eventfd left.
  static Result<std::unique_ptr<OffloadedQueue>> create(const Setup& setup);
  ~OffloadedQueue();

  /// Before start(); outlives the time until stop().
  void set_back_end(QueueBackEnd& back_end) noexcept { back_end_ = &back_end; }
  [[nodiscard]] IoThread& thread() noexcept { return *thread_; }

  /// Hands a ring over that was found to be sound, and stands at `state` with nothing in flight.
  /// Errors: the host refuses, and the ring is as it was.
  Status start(const RingAreas& ring, const RingState& state);
  /// Takes it back. Everything that was taken has been given back; nothing if it was not running.
  std::optional<RingState> stop();
  [[nodiscard]] bool running() const noexcept { return running_.load(std::memory_order_acquire); }

  /// Has the back end look at the ring, kicked or not. Any thread.
  void kick() noexcept { doorbell_->signal(); }
  /// The interrupt points at another event.
  void interrupt_changed() noexcept;

 private:
  /// Hears of a ring that the back end does not believe. I/O thread.
  struct FaultWatch final : EventHandler {
    explicit FaultWatch(OffloadedQueue& of) noexcept : queue(of) {}
    void on_event(std::uint64_t count) noexcept override;
    OffloadedQueue& queue;
  };

  explicit OffloadedQueue(const Setup& setup) noexcept
      : thread_(setup.thread),
        interrupt_(setup.interrupt),
        faults_(setup.faults),
        counters_(setup.counters),
        doorbell_(setup.doorbell) {}

  IoThread* thread_;
  GuestInterrupt* interrupt_;
  QueueFaultSink* faults_;
  QueueCounters* counters_;
  const EventFd* doorbell_;
  QueueBackEnd* back_end_ = nullptr;
  OffloadedRing ring_;
  EventFd fault_;
  FaultWatch fault_watch_{*this};
  std::atomic<bool> running_{false};
};

}  // namespace bellhop
