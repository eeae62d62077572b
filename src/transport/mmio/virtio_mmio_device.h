#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "bus/bus.h"
#include "transport/host_binder.h"
#include "transport/interrupt_status.h"
#include "transport/negotiation.h"
#include "virtio/abi/mmio.h"

namespace bellhop {

/// A virtio device as a page of registers (virtio 1.3, 4.2, version 2 of the layout). All its
/// interrupts share one edge-triggered pin of the interrupt controller.
///
/// Registers come from any vCPU thread. Made, reset and destroyed by the main thread while no vCPU
/// runs.
class VirtioMmioDevice final : private BusDevice, private TransportHost {
 public:
  /// Where the guest finds it; to be told to the guest by the machine (4.2.1).
  struct Place {
    std::uint64_t base = 0;  ///< guest-physical, kMmioWindowBytes of it
    unsigned gsi = 0;
  };

  /// Puts the registers on `mmio`; it and `host` outlive the device. Errors: the place is taken, no
  /// eventfds left, the host refuses the interrupt, a configuration space that is too large.
  static Result<std::unique_ptr<VirtioMmioDevice>> create(std::unique_ptr<VirtioDevice> device,
                                                          DeviceWiring wiring, HostBinder& host,
                                                          Bus& mmio, Place place);
  ~VirtioMmioDevice() override;
  VirtioMmioDevice(const VirtioMmioDevice&) = delete;
  VirtioMmioDevice& operator=(const VirtioMmioDevice&) = delete;

  [[nodiscard]] DeviceLife& life() noexcept { return negotiation_->life(); }
  [[nodiscard]] Negotiation& negotiation() noexcept { return *negotiation_; }
  [[nodiscard]] Place place() const noexcept { return place_; }
  /// Back to the state after power-on.
  void reset() noexcept;

 private:
  VirtioMmioDevice(unsigned queues, HostBinder& host, Bus& mmio, Place place) noexcept
      : host_(&host), mmio_(&mmio), place_(place), status_(queues), doorbells_(queues) {}
  Status bind();

  void read(std::uint64_t offset, std::span<std::byte> data) noexcept override;
  void write(std::uint64_t offset, std::span<const std::byte> data) noexcept override;
  [[nodiscard]] std::uint32_t read_register(std::uint32_t offset) noexcept;
  void write_register(std::uint32_t offset, std::uint32_t value) noexcept;

  Status arm_doorbell(unsigned queue, Server server, const EventFd& doorbell) override;
  void disarm_doorbell(unsigned queue, const EventFd& doorbell) noexcept override;
  [[nodiscard]] bool doorbells_reachable() const noexcept override { return true; }
  void device_was_reset() noexcept override;
  void raise_config_interrupt() noexcept override;

  HostBinder* host_;
  Bus* mmio_;
  Place place_;
  EventFd interrupt_;
  InterruptStatus status_;
  GuestInterrupt config_interrupt_;
  std::vector<IoEventMatch> doorbells_;  ///< as attached; under the device's lock
  bool on_bus_ = false;
  bool interrupt_attached_ = false;
  std::atomic<std::uint32_t> device_features_sel_{0};
  std::atomic<std::uint32_t> driver_features_sel_{0};
  std::atomic<std::uint32_t> queue_sel_{0};
  std::unique_ptr<Negotiation> negotiation_;
};

}  // namespace bellhop
