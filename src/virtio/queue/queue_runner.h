#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>

#include "base/result.h"
#include "base/shared_counter.h"
#include "base/unique_fd.h"
#include "event/io_thread.h"
#include "virtio/queue/early_show.h"
#include "virtio/queue/interrupt.h"
#include "virtio/queue/interrupt_delay.h"
#include "virtio/queue/kick_choice.h"
#include "virtio/queue/queue_fault_sink.h"
#include "virtio/queue/request_trace.h"
#include "virtio/queue/server.h"
#include "virtio/ring/queue_counters.h"
#include "virtio/ring/ring.h"

namespace bellhop {

/// What a device does with one of its queues. Called by the queue's runner, one call at a time.
class QueueHandler {
 public:
  /// Takes requests by QueueRunner::pop() until it says no, and enqueues them with the back end.
  virtual void drain() noexcept = 0;
  /// Hands the batch to the back end: at most one system call. May complete requests.
  virtual void submit() noexcept = 0;
  /// The queue is about to run, and who drains it stays the same until it stops.
  virtual void will_run(Drain /*drain*/) noexcept {}
  /// The queue is to be quiet: rewinds the chains that it holds without having begun with them.
  /// Those that it has begun with it completes when they are done.
  virtual void release() noexcept {}
  /// The ring that starts next is not the one that was stopped, or stands elsewhere: what is noted
  /// of chains that were rewound holds for no chain any more. While the queue does not run.
  virtual void begin_anew() noexcept {}
  /// A chain that breaks the rules is about to be given back. Its last buffer, if the driver let
  /// the device write it, is all that is left, as writable(): room for a status. Returns the bytes
  /// written.
  virtual std::uint32_t malformed(DescriptorChain& /*chain*/) noexcept { return 0; }

 protected:
  ~QueueHandler() = default;
};

/// Whether what complete() gave back may be shown to the driver before the next complete().
enum class Batch : std::uint8_t {
  kMayEnd,
  kGoesOn,  ///< several chains that the driver must see together
};

/// Runs one queue that the device itself serves: where its kicks arrive, the draining loop, the
/// publication of its completions and its interrupt. It outlives the ring that it runs: kicks at a
/// wrong time find no ring and do nothing.
///
/// Bounds. One turn takes at most kMaxChainsInOneTurn chains, malformed ones included, then other
/// queues of the thread get theirs; a vCPU thread passes the rest on to the I/O thread.
///
/// Threads. The queue belongs to its I/O thread. With Drain::kByIoThread nobody else touches the
/// ring. With kByVcpu the vCPU thread drains it for the length of one kick, under the queue lock;
/// the I/O thread takes the same lock to complete requests. start(), stop() and set_drain() are
/// control path.
class QueueRunner final : public EventHandler, public Task, public Poller {
 public:
  struct Setup {
    IoThread* thread = nullptr;
    Drain drain = Drain::kByIoThread;
    /// The other may come to drain it, between a stop and a start: see shares_with_vcpu().
    bool may_change = false;
    GuestInterrupt* interrupt = nullptr;
    QueueFaultSink* faults = nullptr;
    /// What signals kicks: an eventfd made elsewhere, which outlives the runner. Null: one is
    /// made.
    const EventFd* doorbell = nullptr;
    /// Which queue of which device it is, for probes (docs/explain.md). The name outlives the
    /// runner.
    const char* device = "";
    unsigned queue = 0;
    /// How long an interrupt may be put off, where the I/O thread drains; 0: not at all.
    std::chrono::nanoseconds coalesce{0};
  };
  static constexpr unsigned kMaxChainsInOneTurn = 512;

  /// Errors: no eventfd left.
  static Result<std::unique_ptr<QueueRunner>> create(const Setup& setup);
  ~QueueRunner() override;

  // ---- control path: one thread at a time, the device's lifecycle lock held ----

  /// Takes the ring and serves it from the next kick on. Device handlers must be set before. Does
  /// not look at the ring yet: see kick_once().
  void start(Ring ring);
  /// Requests in flight are waited for, nothing more is taken. Returns where the ring stands, with
  /// every completion published; nothing if it was not running.
  std::optional<RingState> stop();
  /// The same, unless requests are still in flight after `patience`: then the queue goes on, and
  /// this returns nothing.
  std::optional<RingState> try_stop(std::chrono::nanoseconds patience);
  /// QueueHandler::begin_anew(). Device handlers must be set before; while it does not run.
  void begin_anew() noexcept { handler_->begin_anew(); }
  /// Serves what was offered while nobody listened: after start, after arming, after resume.
  void kick_once() noexcept;

  void set_handler(QueueHandler* handler) noexcept;
  /// Has the requests stamped on their way. Before set_handler().
  void set_trace(std::unique_ptr<RequestTrace> trace) noexcept { trace_ = std::move(trace); }
  /// Null if they are not. While the queue does not run.
  [[nodiscard]] RequestTrace* trace() noexcept { return trace_.get(); }
  /// RequestTrace::start(), if they are. While the queue does not run; take_request_times() may.
  void start_trace(const GuestMemory& memory, const QueueConfig& ring, RingFeatures features) {
    if (trace_ == nullptr) return;
    const std::lock_guard<std::mutex> hold(queue_lock_);
    trace_->start(memory, ring, features);
  }
  /// RequestTrace::take(); nothing if they are not stamped. Also while the queue runs; not on its
  /// own threads while they serve it.
  [[nodiscard]] std::optional<RequestTimes> take_request_times();
  [[nodiscard]] bool running() const noexcept { return running_.load(std::memory_order_acquire); }
  [[nodiscard]] Drain drain() const noexcept { return drain_.load(std::memory_order_relaxed); }
  /// Before the device is activated, whose back end is made for one of the two; where it may
  /// change, also between a stop and a start.
  void set_drain(Drain drain) noexcept { drain_.store(drain, std::memory_order_relaxed); }
  /// Poller::look(), where the I/O thread drains. As set_drain().
  void set_look(Look look) noexcept { look_ = look; }
  /// Setup::may_change from now on. As set_drain() where it may change.
  void set_may_change(bool may_change) noexcept { may_change_ = may_change; }
  /// What signals kicks from now on: as Setup::doorbell; null: the runner's own again. While it
  /// does not run.
  void set_doorbell(const EventFd* doorbell) noexcept;
  /// Whether what the handler uses is used by a vCPU thread as well, now or later: one at a time,
  /// under the queue lock.
  [[nodiscard]] bool shares_with_vcpu() const noexcept {
    return may_change_ || drain() == Drain::kByVcpu;
  }
  [[nodiscard]] IoThread& thread() noexcept { return *thread_; }
  /// The eventfd that an ioeventfd (or a vhost-user peer) signals.
  [[nodiscard]] const EventFd& doorbell() const noexcept { return *doorbell_; }
  [[nodiscard]] const QueueCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] QueueCounters& counters() noexcept { return counters_; }

  // ---- any thread ----

  /// A kick that came as a vCPU exit. kByVcpu: drains here. Else: passes it on to the I/O thread.
  void kick() noexcept;

  // ---- for the device's handler ----

  /// The next request; kEmpty also where the turn is over. Never kMalformed: the handler is asked
  /// for an answer, and the next chain is taken.
  [[nodiscard]] Pop pop(DescriptorChain& chain) noexcept;
  /// Gives a request back; published with the rest of its batch. On the I/O thread, or inside
  /// drain(), submit() or with_queue_lock().
  void complete(DescriptorChain& chain, std::uint32_t written,
                Batch batch = Batch::kMayEnd) noexcept;
  /// Ring::rewind(), inside drain() or release().
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
  /// Runs `work` (reaping a shared back end) as the queue's only user, then publishes; at once
  /// where a vCPU drains. I/O thread.
  template <class Work>
  void with_queue_lock(Work&& work) noexcept {
    const std::lock_guard<std::mutex> hold(queue_lock_);
    if (drain() == Drain::kByIoThread) {
      work();  // what completes is published at the end of this round, as one batch
      return;
    }
    serving_ = true;
    work();
    serving_ = false;
    if (!ring_) return;  // a completion event that outlived the ring: nothing was in flight
    publish(Signal::kNow);
    settle();
  }

 private:
  explicit QueueRunner(const Setup& setup) noexcept
      : thread_(setup.thread),
        drain_(setup.drain),
        may_change_(setup.may_change),
        interrupt_(setup.interrupt),
        faults_(setup.faults),
        doorbell_(setup.doorbell),
        device_(setup.device),
        queue_(setup.queue) {}

  enum class Signal : std::uint8_t { kNow, kWithNextSubmission };

  void on_event(std::uint64_t count) noexcept override;
  void run() noexcept override;
  bool poll() noexcept override;
  bool prepare_sleep() noexcept override;
  [[nodiscard]] bool has_work_under_way() const noexcept override {
    return ring_ && ring_->in_flight() != 0;
  }
  [[nodiscard]] Look look() const noexcept override { return look_; }
  [[nodiscard]] std::uint64_t work_done() const noexcept override {
    return counters_.completions.get();
  }
  /// The draining loop of the I/O thread; kicks stay suppressed until the loop is about to sleep.
  void serve(bool kicked) noexcept;
  /// The draining loop of a vCPU thread, under the queue lock.
  void serve_sync(bool kicked) noexcept;
  /// One pass of either: false if the ring had nothing, or is broken.
  bool drain_once(Signal signal) noexcept;
  /// Kicks while the I/O thread is awake, where they pay (KickChoice).
  void ask_while_awake() noexcept;
  /// Whether a kick that comes now was of use, if it finds nothing: it was asked for while awake,
  /// and a request has been taken since the kick before it.
  [[nodiscard]] bool was_asked_for() noexcept;
  void publish(Signal signal) noexcept;
  /// The same, inlined where each request comes by.
  [[gnu::always_inline]] void show(Signal signal) noexcept;
  void interrupt(Signal signal) noexcept;
  [[nodiscard]] bool batch_goes_on() noexcept;
  // Apart, so that a queue which is not traced pays for one look at a pointer and nothing else.
  [[gnu::cold, gnu::noinline]] Pop stamp_taken(const DescriptorChain& chain) noexcept;
  [[gnu::cold, gnu::noinline]] void complete_traced(DescriptorChain& chain, std::uint32_t written,
                                                    Batch batch) noexcept;
  [[gnu::cold, gnu::noinline]] void interrupt_traced(bool wanted, Signal signal) noexcept;
  void give_back(DescriptorChain& chain, std::uint32_t written, Batch batch) noexcept;
  void settle() noexcept;
  void listen();
  void begin_stop();
  RingState end_stop();
  void begin_turn() noexcept {
    turn_end_ = static_cast<std::uint16_t>(ring_->taken() + kMaxChainsInOneTurn);
  }
  [[nodiscard]] bool turn_over() const noexcept { return ring_->taken() == turn_end_; }
  Pop popped(const DescriptorChain& chain) noexcept;
  Pop give_back_malformed(DescriptorChain& chain) noexcept;

  IoThread* thread_;
  std::atomic<Drain> drain_;  ///< late kicks of other vCPUs look at it during a reset
  bool may_change_;
  Look look_ = Look::kWhileItPays;
  GuestInterrupt* interrupt_;
  QueueFaultSink* faults_;
  QueueHandler* handler_ = nullptr;
  const EventFd* doorbell_;
  EventFd own_doorbell_;
  const char* device_;
  unsigned queue_;
  std::unique_ptr<InterruptDelay> delay_;  ///< null: interrupts come at once
  QueueCounters counters_;
  KickChoice choice_;  ///< whether to ask for kicks while awake
  EarlyShow early_;    ///< whether to show answers before their batch is over
  std::unique_ptr<RequestTrace> trace_;

  std::optional<Ring> ring_;
  bool serving_ = false;         ///< inside drain(), submit() or with_queue_lock()
  bool stopping_ = false;        ///< nothing more is taken
  bool kicked_ = false;          ///< a kick waits for this round's end
  bool suppressed_ = false;      ///< the driver was asked not to kick
  bool parked_ = false;          ///< the handler waits for something else than chains
  bool woken_ = false;           ///< it is to be called all the same
  bool yielded_ = false;         ///< the handler lets others go first
  std::uint16_t kick_seen_ = 0;  ///< Ring::taken() when the last kick came
  std::uint16_t turn_end_ = 0;   ///< Ring::taken() where this turn ends
  std::atomic<bool> running_{false};
  std::atomic<bool> kick_posted_{false};  ///< a message of kick_once() is on its way

  /// kByVcpu: whose turn it is with the ring. Otherwise only start and stop take it.
  std::mutex queue_lock_;
  std::mutex rest_mutex_;
  std::condition_variable rest_changed_;
  bool at_rest_ = true;
};

}  // namespace bellhop
