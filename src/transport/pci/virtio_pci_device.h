#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "bus/bus.h"
#include "transport/host_binder.h"
#include "transport/interrupt_status.h"
#include "transport/negotiation.h"
#include "transport/pci/msix.h"
#include "transport/pci/pci_function.h"

namespace bellhop {

/// What drivers find a device's registers: modern ones only, or those of before virtio 1.0 too.
enum class PciStyle : std::uint8_t { kModern, kTransitional };

/// A virtio device as a PCI function (virtio 1.3, 4.1), interrupts by MSI-X only. One BAR holds
/// everything, each part on a page of its own. A transitional device has the legacy registers in
/// ports as well (4.1.4.10); types that legacy drivers do not know stay modern.
///
/// Registers come from any vCPU thread. Made, reset and destroyed by the main thread while no vCPU
/// runs. Locks are taken in the order function, negotiation, device, vectors.
class VirtioPciDevice final : public PciFunction, private BusDevice, private TransportHost {
 public:
  // The BAR's parts, in bytes.
  static constexpr std::uint64_t kCommonOffset = 0x0000;
  static constexpr std::uint64_t kIsrOffset = 0x1000;
  static constexpr std::uint64_t kDeviceOffset = 0x2000;
  static constexpr std::uint64_t kNotifyOffset = 0x3000;
  static constexpr std::uint64_t kTableOffset = 0x4000;
  static constexpr std::uint64_t kPendingOffset = 0x5000;
  static constexpr std::uint64_t kPartBytes = 0x1000;
  static constexpr std::uint64_t kBarBytes = 0x8000;
  /// queue_notify_off of queue i is i; each has 4 bytes.
  static constexpr std::uint32_t kNotifyMultiplier = 4;
  /// One vector for each queue and one for configuration changes, as far as the table's page goes.
  static constexpr unsigned kMaxVectors = kPartBytes / Msix::kEntryBytes;

  /// Where the BARs are put once the guest turns decoding on.
  struct Buses {
    Bus* memory = nullptr;
    Bus* ports = nullptr;  ///< for kTransitional
  };

  /// `host` and the buses outlive the device.
  /// Errors: no eventfds left, more queues than the notification page holds.
  static Result<std::unique_ptr<VirtioPciDevice>> create(std::unique_ptr<VirtioDevice> device,
                                                         DeviceWiring wiring, HostBinder& host,
                                                         Buses buses,
                                                         PciStyle style = PciStyle::kModern);
  ~VirtioPciDevice() override;

  [[nodiscard]] DeviceLife& life() noexcept { return negotiation_->life(); }
  [[nodiscard]] Negotiation& negotiation() noexcept { return *negotiation_; }

 private:
  /// The legacy registers on the bus of ports.
  class LegacyPorts final : public BusDevice {
   public:
    explicit LegacyPorts(VirtioPciDevice& device) noexcept : device_(&device) {}
    void read(std::uint64_t offset, std::span<std::byte> data) noexcept override {
      device_->read_legacy(offset, data);
    }
    void write(std::uint64_t offset, std::span<const std::byte> data) noexcept override {
      device_->write_legacy(offset, data);
    }

   private:
    VirtioPciDevice* device_;
  };

  VirtioPciDevice(const DeviceTraits& traits, HostBinder& host, Buses buses, PciStyle style);
  void add_capabilities(const DeviceTraits& traits) noexcept;

  // Legacy, in virtio_pci_legacy.cc.
  void read_legacy(std::uint64_t offset, std::span<std::byte> data) noexcept;
  void write_legacy(std::uint64_t offset, std::span<const std::byte> data) noexcept;

  // The BAR.
  void read(std::uint64_t offset, std::span<std::byte> data) noexcept override;
  void write(std::uint64_t offset, std::span<const std::byte> data) noexcept override;
  [[nodiscard]] std::optional<std::uint64_t> read_common(std::uint32_t offset,
                                                         std::size_t bytes) noexcept;
  [[nodiscard]] bool write_common(std::uint32_t offset, std::size_t bytes,
                                  std::uint64_t value) noexcept;
  void set_config_vector(std::uint16_t vector) noexcept;
  void set_queue_vector(std::uint16_t vector) noexcept;
  void reset_queue(std::uint16_t queue) noexcept;
  [[nodiscard]] std::uint16_t queue_vector(std::uint32_t queue) const noexcept;

  // Configuration space.
  void bar_moved(IoSpace space, std::optional<std::uint64_t> address) noexcept override;
  void bus_master_changed(bool on) noexcept override;
  void before_config_read(std::uint32_t offset, std::size_t bytes) noexcept override;
  void after_config_write(std::uint32_t offset, std::size_t bytes) noexcept override;
  void was_reset() noexcept override;
  void update_delivery() noexcept;
  struct Window;
  [[nodiscard]] std::optional<Window> window(std::uint32_t offset, std::size_t bytes) noexcept;

  // TransportHost.
  Status arm_doorbell(unsigned queue, Server server, const EventFd& doorbell) override;
  void disarm_doorbell(unsigned queue, const EventFd& doorbell) noexcept override;
  [[nodiscard]] bool doorbells_reachable() const noexcept override;
  void device_was_reset() noexcept override;
  void raise_config_interrupt() noexcept override;

  HostBinder* host_;
  Buses buses_;
  LegacyPorts legacy_ports_{*this};
  const unsigned memory_bar_;  ///< its number
  std::unique_ptr<Msix> msix_;
  InterruptStatus isr_;
  GuestInterrupt config_interrupt_;
  std::atomic<std::uint16_t> config_vector_;
  std::atomic<std::uint32_t> device_feature_select_{0};
  std::atomic<std::uint32_t> driver_feature_select_{0};
  std::atomic<std::uint16_t> queue_select_{0};
  std::uint8_t msix_cap_ = 0;
  std::uint8_t window_cap_ = 0;
  bool bus_master_ = false;  ///< under the function's lock
  std::atomic<bool> msix_enabled_{false};
  /// Of the BARs on their buses, by IoSpace; under the device's lock.
  std::array<std::optional<std::uint64_t>, kIoSpaces.size()> addresses_;
  std::vector<IoEventMatch> doorbells_;  ///< as attached; under the device's lock
  std::vector<std::atomic<std::uint16_t>> queue_vectors_;
  std::unique_ptr<Negotiation> negotiation_;
};

}  // namespace bellhop
