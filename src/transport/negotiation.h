#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "base/result.h"
#include "virtio/abi/config.h"
#include "virtio/device/device_life.h"

namespace bellhop {

/// What a transport does for the device behind its registers.
class TransportHost : public DoorbellHost {
 public:
  /// The device was reset, and its status is about to read 0: the transport forgets its vectors and
  /// its interrupt status. Without the device's lock.
  virtual void device_was_reset() noexcept = 0;
  /// The device changed its configuration or its status by itself. Any thread, with or without the
  /// device's lock: must not call back.
  virtual void raise_config_interrupt() noexcept = 0;

 protected:
  ~TransportHost() = default;
};

/// The status register and the feature words of a virtio device (virtio 1.3, 2.1, 2.2, 3.1), before
/// the device's life. A transport decodes register accesses and calls this. Any thread.
class Negotiation final : private DeviceListener {
 public:
  /// Errors: no eventfds left.
  static Result<std::unique_ptr<Negotiation>> create(std::unique_ptr<VirtioDevice> device,
                                                     DeviceWiring wiring, TransportHost& host);

  [[nodiscard]] DeviceLife& life() noexcept { return *life_; }
  [[nodiscard]] const DeviceLife& life() const noexcept { return *life_; }

  /// 32 bits of the feature words; words past the second read 0 and cannot be set.
  [[nodiscard]] std::uint32_t device_features(std::uint32_t word) const noexcept;
  [[nodiscard]] std::uint32_t driver_features(std::uint32_t word) const noexcept;
  void set_driver_features(std::uint32_t word, std::uint32_t value) noexcept;

  [[nodiscard]] std::uint8_t status() const noexcept {
    return status_.load(std::memory_order_acquire);
  }
  /// A write of the status register: steps that the standard does not allow are not taken, 0 resets
  /// and returns when no request is in flight.
  void write_status(std::uint8_t value);
  /// The same for a driver that speaks the legacy dialect (2.2.3, 3.1.2): there is no FEATURES_OK,
  /// and what the driver takes of unknown features is dropped. Until the next reset.
  void write_legacy_status(std::uint8_t value);
  [[nodiscard]] bool legacy() const noexcept { return legacy_.load(std::memory_order_acquire); }
  /// What such a driver is offered.
  [[nodiscard]] std::uint32_t legacy_features() const noexcept;

  /// Whether notifications say how far the driver has come, too (VIRTIO_F_NOTIFICATION_DATA; 2.9):
  /// above the lower 16 bits, which say which queue. Nothing of ours needs to know it.
  [[nodiscard]] bool notification_data() const noexcept {
    return notification_data_.load(std::memory_order_relaxed);
  }

  /// Bits of the interrupt status that may be due without being set: queues that others serve
  /// interrupt past us. A driver that looks for nothing finds nothing.
  [[nodiscard]] std::uint32_t unseen_interrupts() const noexcept;

  /// The driver's reset of one queue (VIRTIO_F_RING_RESET, 2.6.1): DeviceLife::reset_queue().
  /// False, and nothing done: the feature was not negotiated.
  bool reset_queue(std::uint32_t index);

  /// As if the driver had written 0 to status.
  void reset();

 private:
  explicit Negotiation(TransportHost& host) noexcept : host_(host) {}

  void needs_reset() noexcept override;
  void config_changed() noexcept override;
  void reset_locked();
  [[nodiscard]] bool negotiated(unsigned feature) const noexcept;
  void set_status(std::uint8_t added);

  TransportHost& host_;
  mutable std::mutex lock_;
  std::atomic<std::uint8_t> status_{0};
  std::atomic<bool> legacy_{false};
  std::atomic<bool> notification_data_{false};
  std::uint64_t driver_features_ = 0;
  std::unique_ptr<DeviceLife> life_;
};

}  // namespace bellhop
