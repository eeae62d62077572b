#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "memory/guest_memory.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

/// What a transport does for the device behind it. Called with the core's lock held.
class CoreClient {
 public:
  /// Has the hypervisor signal `doorbell` when the driver notifies `queue`. An error means that the
  /// host refuses: the queue falls back to sync.
  virtual Status arm_doorbell(unsigned queue, const EventFd& doorbell) = 0;
  virtual void disarm_doorbell(unsigned queue, const EventFd& doorbell) noexcept = 0;
  /// Whether the doorbells have an address now; in the dialect that the driver speaks.
  [[nodiscard]] virtual bool doorbells_reachable() const noexcept = 0;
  /// The device came back to its state after power-on, and its status is about to read 0: the
  /// transport forgets its vectors and its interrupt status.
  virtual void device_was_reset() noexcept = 0;
  /// The device changed its configuration or its status by itself. Any thread, with or without the
  /// core's lock: must not call back.
  virtual void raise_config_interrupt() noexcept = 0;

 protected:
  ~CoreClient() = default;
};

/// Where the queues of a device run, and how they are notified.
struct CoreWiring {
  const GuestMemory* memory = nullptr;
  std::vector<IoThread*> threads;  ///< queue i runs on threads[i % size]
  NotifyMode notify = NotifyMode::kIoEventFd;
};

/// Whether the device may read and write guest memory (bus mastering, for a PCI function).
enum class MemoryAccess : std::uint8_t { kForbidden, kAllowed };

/// The life of a virtio device behind any transport: status, feature negotiation, queue
/// configuration, activation and reset (virtio 1.3, 2.1, 2.2, 3.1). The transport decodes register
/// accesses and calls this.
///
/// Any thread may call: vCPU threads for registers, the main thread for pause and resume.
class DeviceCore final : private QueueFaultSink, private ConfigListener {
 public:
  /// Errors: no eventfds left.
  static Result<std::unique_ptr<DeviceCore>> create(std::unique_ptr<VirtioDevice> device,
                                                    CoreWiring wiring, CoreClient& client);
  /// Resets the device.
  ~DeviceCore();

  [[nodiscard]] const DeviceTraits& traits() const noexcept { return device_->traits(); }
  [[nodiscard]] std::vector<DeviceStat> stats() const { return device_->stats(); }
  [[nodiscard]] unsigned queue_count() const noexcept { return device_->traits().queue_count; }

  /// 32 bits of the feature words; words past the second read 0 and cannot be set.
  [[nodiscard]] std::uint32_t device_features(std::uint32_t word) const noexcept;
  [[nodiscard]] std::uint32_t driver_features(std::uint32_t word) const noexcept;
  void set_driver_features(std::uint32_t word, std::uint32_t value) noexcept;

  [[nodiscard]] std::uint8_t status() const noexcept {
    return status_.load(std::memory_order_acquire);
  }
  /// A write of the status register: steps that the standard does not allow are not taken, 0 resets
  /// and returns when the device is at rest.
  void write_status(std::uint8_t value);
  /// The same for a driver that speaks the legacy dialect (2.2.3, 3.1.2): there is no FEATURES_OK,
  /// and what the driver takes of unknown features is dropped. Until the next reset.
  void write_legacy_status(std::uint8_t value);
  [[nodiscard]] bool legacy() const noexcept { return legacy_.load(std::memory_order_acquire); }
  /// What such a driver is offered.
  [[nodiscard]] std::uint32_t legacy_features() const noexcept;
  /// Changes whenever the device has changed its configuration (2.5).
  [[nodiscard]] std::uint8_t config_generation() const noexcept {
    return config_generation_.load(std::memory_order_acquire);
  }
  /// Bits of the interrupt status that may be due without being set: queues that the kernel serves
  /// interrupt past us. A driver that looks for nothing finds nothing.
  [[nodiscard]] std::uint32_t unseen_interrupts() const noexcept;

  /// Device-specific configuration; parts past its end read 0 and ignore writes.
  void read_config(std::uint32_t offset, std::span<std::byte> data) noexcept;
  void write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept;

  /// A queue's registers as the driver sees them; an index out of range gives an unavailable queue
  /// (size 0).
  [[nodiscard]] QueueConfig queue(std::uint32_t index) const noexcept;
  [[nodiscard]] std::uint16_t queue_max_size() const noexcept {
    return device_->traits().queue_max_size;
  }
  /// Changes a queue's registers; ignored (and counted) once it is enabled or the device runs.
  template <class Change>
  void change_queue(std::uint32_t index, Change&& change) noexcept {
    const std::lock_guard<std::mutex> hold(lock_);
    if (index >= queues_.size() || queues_[index].config.ready || driver_ok()) {
      guest_fault("writes registers of a queue that is absent or in use");
      return;
    }
    change(queues_[index].config);
  }
  /// Points a queue's interrupt at the event of `vector`; unlike the other registers also while the
  /// queue runs. Null with kMsiNoVector.
  void set_queue_vector(std::uint32_t index, std::uint16_t vector, const EventFd* event) noexcept;
  /// virtio-mmio's QueueReady = 0 or a later virtio-pci queue_reset: one queue back to rest.
  void reset_queue(std::uint32_t index);

  /// A notification that came as a vCPU exit: through the register itself, of another width, or
  /// through the PCI configuration window. Wrong indices and wrong times are ignored.
  void notify(std::uint32_t index) noexcept;

  /// The interrupt of a queue, for the transport to point at a vector.
  [[nodiscard]] GuestInterrupt& interrupt(unsigned queue) noexcept {
    return queues_[queue].interrupt;
  }
  [[nodiscard]] const QueueRunner& runner(unsigned queue) const noexcept {
    return *queues_[queue].runner;
  }

  /// Doorbells off and on again around a change of their address. Kicks in between are not lost.
  template <class Change>
  void with_doorbells_disarmed(Change&& change) {
    const std::lock_guard<std::mutex> hold(lock_);
    disarm_all();
    change();
    if (active_ && !resting()) (void)arm_all();
  }

  /// Forbidden: requests in flight are waited for, then the queues rest; kicks stay unanswered in
  /// the rings until access is allowed again.
  void set_memory_access(MemoryAccess access);

  /// Everything at rest, nothing lost; the vCPUs must stand still. resume() goes on: arms, kicks
  /// every queue once and raises every interrupt once.
  void pause();
  void resume();
  /// As if the driver had written 0 to status.
  void reset();

  /// Counts something that the driver must not do and that was ignored; the first is logged. Any
  /// thread. `what` completes "the driver ...".
  void guest_fault(const char* what) noexcept;
  [[nodiscard]] std::uint64_t guest_faults() const noexcept {
    return guest_faults_.load(std::memory_order_relaxed);
  }

 private:
  struct Queue {
    QueueConfig config;
    GuestInterrupt interrupt;
    std::unique_ptr<QueueRunner> runner;
    std::optional<SplitRing> resting;  ///< while paused or without access to memory
    bool armed = false;
  };

  DeviceCore(std::unique_ptr<VirtioDevice> device, CoreWiring wiring, CoreClient& client)
      : device_(std::move(device)),
        wiring_(std::move(wiring)),
        client_(&client),
        queues_(device_->traits().queue_count) {}

  void queue_broken() noexcept override;
  void config_changed() noexcept override;
  [[nodiscard]] bool driver_ok() const noexcept {
    return (status() & virtio::kStatusDriverOk) != 0;
  }
  [[nodiscard]] bool resting() const noexcept {
    return paused_ || access_ == MemoryAccess::kForbidden;
  }
  [[nodiscard]] std::uint64_t offered() const noexcept;
  using Rings = std::vector<std::optional<SplitRing>>;
  void activate();
  [[nodiscard]] std::optional<Rings> make_rings();
  Status start_device(Rings& rings);
  void give_up_start(Rings& rings);
  Status go_on(Queue& queue);
  void host_refuses(const std::string& why);
  void log_refusal(std::size_t queue, std::string_view so, std::string_view why);
  void cannot_start(std::size_t queue, const std::string& why);
  void rest();
  void go_on();
  void reset_locked();
  Status arm_all();
  void disarm_all() noexcept;
  void needs_reset() noexcept;

  std::unique_ptr<VirtioDevice> device_;
  CoreWiring wiring_;
  CoreClient* client_;
  mutable std::mutex lock_;
  std::atomic<std::uint8_t> status_{0};
  std::atomic<std::uint8_t> config_generation_{0};
  std::atomic<bool> legacy_{false};
  std::uint64_t driver_features_ = 0;
  std::vector<Queue> queues_;
  bool active_ = false;  ///< device_->activate() was called
  bool paused_ = false;
  bool refusal_logged_ = false;
  bool start_fault_logged_ = false;
  bool kernel_refusal_logged_ = false;
  bool host_fault_logged_ = false;
  MemoryAccess access_ = MemoryAccess::kAllowed;
  std::atomic<std::uint64_t> guest_faults_{0};
};

}  // namespace bellhop
