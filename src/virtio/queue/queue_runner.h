#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "base/result.h"
#include "base/shared_counter.h"
#include "base/unique_fd.h"
#include "event/io_thread.h"
#include "virtio/queue/interrupt.h"
#include "virtio/queue/notify_mode.h"
#include "virtio/queue/queue_back_end.h"
#include "virtio/ring/queue_counters.h"
#include "virtio/ring/split_ring.h"

namespace bellhop {

/// What a device does with one of its queues. Called by the queue's runner, one call at a time.
class QueueHandler {
 public:
  /// Takes requests by QueueRunner::pop() until it says no, and enqueues them with the back end.
  virtual void drain() noexcept = 0;
  /// Hands the batch to the back end: at most one system call. May complete requests.
  virtual void submit() noexcept = 0;
  /// The queue is to rest: rewinds the chains that it holds without having begun with them. Those
  /// that it has begun with it completes when they are done.
  virtual void let_go() noexcept {}

 protected:
  ~QueueHandler() = default;
};

/// Whether what complete() gave back may be shown to the driver before the next complete().
enum class Batch : std::uint8_t {
  kMayEnd,
  kGoesOn,  ///< several chains that the driver must see together
};

/// Told when a queue cannot go on until the device is reset. Any thread.
class QueueFaultSink {
 public:
  virtual void queue_broken() noexcept = 0;

 protected:
  ~QueueFaultSink() = default;
};

/// Runs one queue of one device: where its kicks arrive, the draining loop, the publication of its
/// completions and its interrupt. It outlives the ring that it runs: kicks at a wrong time find no
/// ring and do nothing.
///
/// Threads. The queue belongs to its I/O thread. With NotifyMode::kIoEventFd nobody else touches
/// the ring. With kSync the vCPU thread drains it for the length of one kick, under the queue lock;
/// the I/O thread takes the same queue lock to complete requests. With kKernel nobody in this
/// process touches it: the runner lends it to its carrier, and neither kicks nor interrupts come by
/// here. start(), stop() and the mode are control path.
class QueueRunner final : public EventHandler, public Task, public Poller {
 public:
  struct Setup {
    IoThread* thread = nullptr;
    NotifyMode mode = NotifyMode::kIoEventFd;
    GuestInterrupt* interrupt = nullptr;
    QueueFaultSink* faults = nullptr;
  };

  /// Errors: no eventfd left.
  static Result<std::unique_ptr<QueueRunner>> create(const Setup& setup);
  ~QueueRunner() override;

  // ---- control path: one thread at a time, the device's lifecycle lock held ----

  /// Takes the ring and serves it from the next kick on. Device handlers must be set before. Does
  /// not look at the ring yet: see kick_once().
  void start(SplitRing ring);
  /// The same for kKernel: the carrier that was set serves the ring. Errors: the host refuses, and
  /// the ring stays the caller's.
  Status carry(SplitRing& ring);
  /// The ring rests: requests in flight are waited for, nothing more is taken. Returns it with
  /// every completion published.
  std::optional<SplitRing> stop();
  /// Serves what was offered while nobody listened: after start, after arming, after resume.
  void kick_once() noexcept;
  /// Rings the interrupt unasked, so that a driver that missed an interrupt looks (after resume).
  void interrupt_once() noexcept { interrupt_->ring(); }

  /// The interrupt points at another event: a carrier is to signal that one.
  void interrupt_changed() noexcept;

  void set_handler(QueueHandler* handler) noexcept { handler_ = handler; }
  /// In a handler's place, where mode() is kKernel.
  void set_carrier(QueueBackEnd* carrier) noexcept { carrier_ = carrier; }
  [[nodiscard]] bool running() const noexcept { return running_.load(std::memory_order_acquire); }
  [[nodiscard]] NotifyMode mode() const noexcept { return mode_.load(std::memory_order_relaxed); }
  /// Only while stopped: the fallback where the host refuses an ioeventfd.
  void set_mode(NotifyMode mode) noexcept { mode_.store(mode, std::memory_order_relaxed); }
  [[nodiscard]] IoThread& thread() noexcept { return *thread_; }
  /// The eventfd that an ioeventfd (or a vhost-user peer) signals.
  [[nodiscard]] const EventFd& doorbell() const noexcept { return doorbell_; }
  [[nodiscard]] const QueueCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] QueueCounters& counters() noexcept { return counters_; }

  // ---- any thread ----

  /// A kick that came as a vCPU exit. kSync: drains here. Else: passes it on to the I/O thread.
  void kick() noexcept;

  // ---- for the device's handler ----

  [[nodiscard]] Pop pop(DescriptorChain& chain) noexcept;
  /// Gives a request back; published with the rest of its batch. On the I/O thread, or inside
  /// drain(), submit() or with_queue_lock().
  void complete(DescriptorChain& chain, std::uint32_t written,
                Batch batch = Batch::kMayEnd) noexcept;
  /// SplitRing::rewind(), inside drain() or let_go().
  [[nodiscard]] bool rewind(DescriptorChain& chain) noexcept;
  /// In drain(), by a handler that can do nothing with chains until something else has happened: a
  /// frame has come, a socket can be written to. drain() is not called before wake(), whatever the
  /// driver offers, and the driver is not asked to kick.
  void park() noexcept { parked_ = true; }
  /// What park() waited for has happened, or may have: drain() is called, whether the driver has
  /// offered something or not. I/O thread.
  void wake() noexcept;
  /// In drain(), by a handler that has worked long enough while others wait: drain() comes again
  /// after them. No effect on a vCPU thread, for which nobody waits but its guest.
  void yield() noexcept { yielded_ = true; }
  /// Runs `work` (reaping a shared back end) as the queue's only user, then publishes. I/O thread.
  template <class Work>
  void with_queue_lock(Work&& work) noexcept {
    const std::lock_guard<std::mutex> hold(queue_lock_);
    serving_ = true;
    work();
    serving_ = false;
    if (!ring_) return;  // a completion event that outlived the ring: nothing was in flight
    publish(Ring::kNow);
    settle();
  }

 private:
  explicit QueueRunner(const Setup& setup) noexcept
      : thread_(setup.thread),
        mode_(setup.mode),
        interrupt_(setup.interrupt),
        faults_(setup.faults) {}

  enum class Ring : std::uint8_t { kNow, kWithNextSubmission };

  /// Hears of a ring that the carrier does not believe. I/O thread.
  struct FaultWatch final : EventHandler {
    explicit FaultWatch(QueueRunner& of) noexcept : runner(of) {}
    void on_event(std::uint64_t count) noexcept override;
    QueueRunner& runner;
  };

  void on_event(std::uint64_t count) noexcept override;
  void run() noexcept override;
  bool poll() noexcept override;
  bool prepare_sleep() noexcept override;
  [[nodiscard]] bool has_work_under_way() const noexcept override {
    return ring_ && ring_->in_flight() != 0;
  }
  /// The draining loop of the I/O thread; kicks stay suppressed until the loop is about to sleep.
  void serve(bool kicked) noexcept;
  /// The draining loop of a vCPU thread, under the queue lock.
  void serve_sync(bool kicked) noexcept;
  /// One pass of either: false if the ring had nothing, or is broken.
  bool drain_once(Ring ring) noexcept;
  void publish(Ring ring) noexcept;
  void settle() noexcept;
  std::optional<SplitRing> take_back();

  IoThread* thread_;
  std::atomic<NotifyMode> mode_;  ///< late kicks of other vCPUs look at it during a reset
  GuestInterrupt* interrupt_;
  QueueFaultSink* faults_;
  QueueHandler* handler_ = nullptr;
  QueueBackEnd* carrier_ = nullptr;
  EventFd doorbell_;
  EventFd fault_;  ///< made when first needed
  FaultWatch fault_watch_{*this};
  QueueCounters counters_;

  std::optional<SplitRing> ring_;
  bool serving_ = false;     ///< inside drain(), submit() or with_queue_lock()
  bool stopping_ = false;    ///< nothing more is taken
  bool kicked_ = false;      ///< a kick waits for this round's end
  bool suppressed_ = false;  ///< the driver was asked not to kick
  bool parked_ = false;      ///< the handler waits for something else than chains
  bool woken_ = false;       ///< it is to be called all the same
  bool yielded_ = false;     ///< the handler lets others go first
  std::uint32_t taken_ = 0;  ///< by the drain under way
  std::atomic<bool> running_{false};

  /// kSync: whose turn it is with the ring. In the other modes only start and stop take it.
  std::mutex queue_lock_;
  std::mutex rest_mutex_;
  std::condition_variable rest_changed_;
  bool at_rest_ = true;
};

}  // namespace bellhop
