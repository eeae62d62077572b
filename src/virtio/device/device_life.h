#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/log_limiter.h"
#include "base/result.h"
#include "memory/guest_memory.h"
#include "virtio/device/virtio_device.h"
#include "virtio/queue/notify_choice.h"
#include "virtio/queue/notify_mode.h"
#include "virtio/queue/request_times.h"

namespace bellhop {

/// Where a device's doorbells are armed. Called with the device's lock held.
class DoorbellHost {
 public:
  /// Has `doorbell` signalled when the driver notifies `queue`, which `server` serves. Errors: the
  /// host refuses; a queue that the device itself serves is notified by exits of the vCPUs then.
  virtual Status arm_doorbell(unsigned queue, Server server, const EventFd& doorbell) = 0;
  virtual void disarm_doorbell(unsigned queue, const EventFd& doorbell) noexcept = 0;
  /// Whether the doorbells have an address now, in the dialect that the driver speaks.
  [[nodiscard]] virtual bool doorbells_reachable() const noexcept = 0;

 protected:
  ~DoorbellHost() = default;
};

/// Hears what a device does by itself. Any thread, with or without the device's lock: must not call
/// back.
class DeviceListener {
 public:
  /// The device cannot go on until the driver resets it.
  virtual void needs_reset() noexcept = 0;
  /// Its configuration space has changed.
  virtual void config_changed() noexcept = 0;

 protected:
  ~DeviceListener() = default;
};

/// Where the queues of a device run, and how they are notified.
struct DeviceWiring {
  const GuestMemory* memory = nullptr;
  /// Queue i runs on threads[i % size], or on its device's own_thread().
  std::vector<IoThread*> threads;
  NotifyMode notify = NotifyMode::kIoEventFd;
  Optimize optimize = Optimize::kThroughput;  ///< what kAdaptive is to look at
  bool has_vcpus = true;  ///< that may serve what they kick; without them no queue can be kSync
  /// How long an interrupt of a queue may be put off; 0: not at all.
  std::chrono::nanoseconds coalesce{0};
  /// Offered beside the device's own. Not where a back end must serve a queue.
  std::uint64_t ring_features = 0;
};

/// Who tells the user what the host has refused: the log, where there is nobody to hand it to.
enum class HostFaults : std::uint8_t { kLogged, kReturned };

/// Whether the device may read and write guest memory (bus mastering, for a PCI function).
enum class MemoryAccess : std::uint8_t { kForbidden, kAllowed };

/// The life of a virtio device, whoever stands before it: registers, a vhost-user peer or a driver
/// in this process. It has the queues; it starts, quiesces, resumes and resets them, and arms their
/// doorbells.
///
/// Who serves a queue, and who drains it, is decided by start() and holds until reset(), unless
/// change_notify() is called: a doorbell that the host refuses later leaves both as they are, and
/// kicks that come as exits are passed on.
///
/// Any thread may call: vCPU threads for registers, the main thread for pause and resume.
class DeviceLife final : private QueueFaultSink, private ConfigListener {
 public:
  /// Errors: no eventfds left.
  static Result<std::unique_ptr<DeviceLife>> create(std::unique_ptr<VirtioDevice> device,
                                                    DeviceWiring wiring, DoorbellHost& doorbells,
                                                    DeviceListener& listener);
  /// Resets the device.
  ~DeviceLife();

  [[nodiscard]] const DeviceTraits& traits() const noexcept { return device_->traits(); }
  [[nodiscard]] std::vector<DeviceStat> stats() const { return device_->stats(); }
  /// VirtioDevice::host_end().
  [[nodiscard]] std::string host_end() const { return device_->host_end(); }
  /// VirtioDevice::look_again().
  Status look_again() { return device_->look_again(); }
  [[nodiscard]] unsigned queue_count() const noexcept { return device_->traits().queue_count; }
  [[nodiscard]] std::uint16_t queue_max_size() const noexcept {
    return device_->traits().queue_max_size;
  }
  /// The device's features and those of its rings.
  [[nodiscard]] std::uint64_t offered_features() const noexcept;

  // ---- configuration space ----

  /// Parts past its end read 0 and ignore writes.
  void read_config(std::uint32_t offset, std::span<std::byte> data) noexcept;
  void write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept;
  /// Changes whenever the device has changed its configuration (2.5).
  [[nodiscard]] std::uint8_t config_generation() const noexcept {
    return config_generation_.load(std::memory_order_acquire);
  }

  // ---- state of its own, while all queues rest ----

  /// VirtioDevice::save_state().
  [[nodiscard]] std::vector<std::byte> save_state();
  /// Resets the device; the next start or open() goes on from `state`. Errors: as
  /// VirtioDevice::load_state().
  Status load_state(std::span<const std::byte> state);

  // ---- queues ----

  /// A queue as it was configured; an index out of range gives an unavailable queue (size 0).
  [[nodiscard]] QueueConfig queue(std::uint32_t index) const noexcept;
  /// Changes a queue's configuration; ignored (and counted) once it is enabled or the device runs,
  /// unless reset_queue() has made it anew.
  template <class Change>
  void change_queue(std::uint32_t index, Change&& change) noexcept {
    const std::lock_guard<std::mutex> hold(lock_);
    if (may_change(index)) change(queues_[index].config);
  }
  /// The driver has configured it all (queue_enable, QueueReady): it runs from start() on, or, if
  /// reset_queue() has made it anew, from now on. A ring that does not lie where it may needs a
  /// reset of the device then; other queues go on.
  void enable_queue(std::uint32_t index) noexcept;
  /// Points a queue's interrupt at an event; unlike the rest of it also while the queue runs. Null:
  /// the driver wants none.
  void set_queue_interrupt(std::uint32_t index, const EventFd* event) noexcept;
  [[nodiscard]] GuestInterrupt& interrupt(unsigned queue) noexcept {
    return queues_[queue].interrupt;
  }
  [[nodiscard]] const QueueCounters& counters(unsigned queue) const noexcept {
    return queues_[queue].runner->counters();
  }
  [[nodiscard]] IoThread& thread(unsigned queue) noexcept {
    return queues_[queue].runner->thread();
  }
  /// What signals a queue's kicks.
  [[nodiscard]] const EventFd& doorbell(unsigned queue) const noexcept {
    return queues_[queue].runner->doorbell();
  }
  [[nodiscard]] bool running(unsigned queue) const noexcept { return queues_[queue].running(); }
  /// Who serves a queue; kDevice before start().
  [[nodiscard]] Server server(unsigned queue) const noexcept {
    return queues_[queue].server.load(std::memory_order_relaxed);
  }
  [[nodiscard]] Drain drain(unsigned queue) const noexcept {
    return queues_[queue].runner->drain();
  }
  /// How a queue is notified now: never kAdaptive.
  [[nodiscard]] NotifyMode notify_mode(unsigned queue) const noexcept {
    return queues_[queue].mode.load(std::memory_order_relaxed);
  }
  /// How a queue is to be notified: as it was wired, or as set_notify() said last.
  [[nodiscard]] NotifyWish notify_wish(unsigned queue) const noexcept {
    return queues_[queue].wish.load(std::memory_order_relaxed);
  }
  /// Whether it is left to a NotifyTuner how a queue is notified; how any is.
  [[nodiscard]] bool adaptive(unsigned queue) const noexcept {
    return notify_wish(queue).mode == NotifyMode::kAdaptive;
  }
  [[nodiscard]] bool adaptive() const noexcept;
  /// SplitRing::outstanding() of a queue that the device itself serves; nothing where it does not
  /// run, or is packed: such a ring has no index of the driver's.
  [[nodiscard]] std::optional<std::uint16_t> outstanding(unsigned queue) const noexcept;
  /// Has an adaptive queue notified in another way from now on. Nothing that it holds is lost.
  /// False, and all as it was: it does not run or is not the device's own to serve, requests are
  /// still in flight after `patience`, or the host has no doorbell for it.
  bool change_notify(unsigned queue, NotifyMode mode, std::chrono::nanoseconds patience);
  /// Has a queue notified as `wish` says, now and after each reset; where it does not run, from its
  /// next start on. kAdaptive begins with the way it has. Nothing that it holds is lost. No
  /// NotifyTuner has the device meanwhile. Errors, and all as it was: no such queue (code ENOENT),
  /// or not the device's own to serve (ENOTSUP); requests still in flight after `patience` (EBUSY);
  /// the host refuses what it needs.
  Status set_notify(unsigned queue, NotifyWish wish, std::chrono::nanoseconds patience);
  /// Has the requests of all queues that the device itself serves stamped on their way, for
  /// take_request_times(). Before the first start().
  void trace_requests();
  /// The driver's time-stamp counter is ahead of this host's by this much: RequestTrace.
  void set_driver_clock(std::uint64_t ahead) noexcept;
  /// QueueRunner::take_request_times().
  [[nodiscard]] std::optional<RequestTimes> take_request_times(unsigned queue) {
    return queues_[queue].runner->take_request_times();
  }
  /// A notification that came as a vCPU exit: through the register itself, of another width, or
  /// through the PCI configuration window. Wrong indices and wrong times are ignored.
  void notify(std::uint32_t index) noexcept;

  // ---- life ----

  /// The driver is ready and has acknowledged `features`: starts the queues that it has enabled.
  /// Errors: a ring that does not lie where it may, which is the driver's fault and is logged; the
  /// host refuses. Nothing runs then before a reset and another start.
  Status start(std::uint64_t features, HostFaults host_faults);
  [[nodiscard]] bool started() const noexcept;
  /// All as it was made; returns when no request is in flight.
  void reset();
  /// Stops one queue until the device is reset, or reset_queue() (virtio-mmio's QueueReady = 0).
  void disable_queue(std::uint32_t index);
  /// VIRTIO_F_RING_RESET (virtio 1.3, 2.6.1): one queue as it was made, while the others go on; it
  /// may be configured and enabled again. Returns when no request of it is in flight. Where it
  /// interrupts is the transport's to take back.
  void reset_queue(std::uint32_t index);

  /// Stops one queue of a started device, and says where its ring stands; nothing if it was not
  /// running. The others go on.
  std::optional<RingState> quiesce_queue(std::uint32_t index);
  /// Goes on with a queue that was stopped. Errors: the ring does not lie where it may, the host
  /// refuses.
  Status resume_queue(std::uint32_t index, RingState state);

  // ---- a device whose rings come one by one: a vhost-user front end's ----
  //
  // open(), then for each ring set_doorbell(), set_queue() and resume_queue(); quiesce_queue() ends
  // it. reset() ends all.

  /// The driver has acknowledged `features`: activates the device with its first `queues` queues,
  /// none of which runs yet. Errors: it runs already; a queue that only the kernel can serve; the
  /// host refuses.
  Status open(std::uint64_t features, unsigned queues);
  /// VirtioDevice::use_queues(), of an open device.
  Status use_queues(unsigned count);
  /// How a queue lies that does not run. Errors: it runs, is absent, or the size is over
  /// queue_max_size().
  Status set_queue(std::uint32_t index, const QueueConfig& config);
  /// What signals kicks of a queue that does not run: outlives its use; null: the device's own.
  void set_doorbell(std::uint32_t index, const EventFd* doorbell);
  /// Where the requests in flight of a queue that does not run are noted from now on, until a
  /// reset: outlives its use, and says where its ring stands. Nothing: they are not.
  void set_inflight(std::uint32_t index, std::optional<InflightQueue> inflight);
  /// Where it is noted what a queue that does not run writes from now on, until a reset: outlives
  /// its use. Nothing: nowhere.
  void set_log(std::uint32_t index, const std::optional<RingLog>& log);
  /// Where the driver's memory is from now on. While no queue runs.
  void set_memory(const GuestMemory& memory);

  /// All queues quiet, nothing lost; the vCPUs must stand still. resume() goes on: arms, kicks
  /// every queue once and raises every interrupt once.
  void pause();
  void resume();
  /// Forbidden: requests in flight are waited for, then the queues are quiet; kicks stay unanswered
  /// in the rings until access is allowed again.
  void set_memory_access(MemoryAccess access);
  /// Doorbells off and on again around a change of their address. Kicks in between are not lost.
  template <class Change>
  void with_doorbells_disarmed(Change&& change) {
    const std::lock_guard<std::mutex> hold(lock_);
    disarm_all();
    change();
    if (started_ && !quiet()) rearm_all();
  }

  /// Counts something that the driver must not do and that was ignored, and logs it. Any thread.
  /// `what` completes "the driver ...".
  void guest_fault(const char* what) noexcept;
  [[nodiscard]] std::uint64_t guest_faults() const noexcept {
    return guest_faults_.load(std::memory_order_relaxed);
  }

 private:
  struct Queue {
    QueueConfig config;
    std::optional<InflightQueue> inflight;
    std::optional<RingLog> log;
    GuestInterrupt interrupt;
    std::unique_ptr<QueueRunner> runner;
    std::unique_ptr<OffloadedQueue> offloaded;  ///< made when a back end first serves it
    /// From start() to reset(); notify() reads it without the lock.
    std::atomic<Server> server{Server::kDevice};
    std::atomic<NotifyWish> wish{NotifyWish{}};
    std::atomic<NotifyMode> mode{NotifyMode::kIoEventFd};
    std::atomic<bool> changing{false};  ///< change_over() has stopped it, and starts it again
    std::optional<RingState> quiet;     ///< where the ring stands while it is not served
    std::optional<RingState> left;      ///< where the runner has left a ring that may go on
    bool armed = false;
    bool in_use = false;  ///< enabled at start(): the device has a handler for it
    bool anew = false;    ///< reset by itself: may be configured while the device runs

    [[nodiscard]] bool running() const noexcept;
    [[nodiscard]] bool is_offloaded() const noexcept {
      return server.load(std::memory_order_acquire) != Server::kDevice;
    }
    std::optional<RingState> stop();
    void kick_once() noexcept;
  };

  DeviceLife(std::unique_ptr<VirtioDevice> device, DeviceWiring wiring, DoorbellHost& doorbells,
             DeviceListener& listener)
      : device_(std::move(device)),
        wiring_(std::move(wiring)),
        doorbells_(&doorbells),
        listener_(&listener),
        queues_(device_->traits().queue_count) {}

  void queue_broken() noexcept override { listener_->needs_reset(); }
  void config_changed() noexcept override;

  [[nodiscard]] bool quiet() const noexcept {
    return paused_ || access_ == MemoryAccess::kForbidden;
  }
  [[nodiscard]] RingFeatures ring_features() const noexcept;
  /// Whether a queue that was `wish`ed so may come to be drained by a vCPU, and back.
  [[nodiscard]] bool may_serve_on_vcpu(NotifyMode wish) const noexcept {
    return wish == NotifyMode::kAdaptive && wiring_.has_vcpus;
  }

  // All with the lock held.
  [[nodiscard]] bool may_change(std::uint32_t index) noexcept;
  Status check_rings();
  Status check_ring(std::size_t index);
  void forget_queue(std::size_t index);
  enum class Offload : std::uint8_t { kNone, kAsChosen };
  Status start_with(Offload offload);
  Status choose_server(Queue& queue, Server server);
  Status activate();
  Status start_queue(Queue& queue, RingState state);
  void abandon_start() noexcept;
  Status arm_offloaded();
  void arm_and_choose_drains();
  void rearm_all() noexcept;
  void disarm_all() noexcept;
  void quiesce_all();
  void resume_all();
  bool go_on(Queue& queue, RingState state);
  void reset_locked();
  Status arm(std::size_t queue);
  void disarm(std::size_t queue) noexcept;
  void set_mode(Queue& queue, NotifyMode mode) noexcept;
  void set_first_mode(Queue& queue) noexcept;
  template <class Change>
  Status change_over(unsigned index, NotifyMode mode, std::chrono::nanoseconds patience,
                     Change&& change);
  Status take_wish(unsigned index, NotifyWish wish, NotifyMode mode);
  void tell_refusal(std::size_t queue, std::string_view so, std::string_view why);
  void tell_host_fault(const std::string& why);

  std::unique_ptr<VirtioDevice> device_;
  DeviceWiring wiring_;
  DoorbellHost* doorbells_;
  DeviceListener* listener_;
  mutable std::mutex lock_;
  std::vector<Queue> queues_;
  std::uint64_t features_ = 0;
  bool started_ = false;  ///< start() succeeded, or failed and waits for a reset
  bool active_ = false;   ///< device_->activate() was called
  bool paused_ = false;
  MemoryAccess access_ = MemoryAccess::kAllowed;
  log::Limiter log_;                  ///< a driver can cause every line, again and again
  std::atomic<bool> refused_{false};  ///< by the host, from start() or resume() to reset()
  std::atomic<std::uint8_t> config_generation_{0};
  std::atomic<std::uint64_t> guest_faults_{0};
};

}  // namespace bellhop
