#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bus/bus.h"
#include "config/machine_config.h"
#include "devices/device_config.h"
#include "event/io_thread.h"
#include "machine/acpi/acpi_tables.h"
#include "machine/boot/memory_map.h"
#include "machine/machine_counters.h"
#include "machine/platform/reset_control.h"
#include "memory/guest_memory.h"
#include "transport/host_binder.h"
#include "transport/pci/virtio_pci_device.h"
#include "virtio/device/device_life.h"

namespace bellhop {

/// What a slot needs of the machine around it. Everything outlives the slots.
struct SlotWiring {
  const GuestMemory& memory;
  std::span<const std::unique_ptr<IoThread>> iothreads;
  HostBinder& binder;
  Bus& ports;
  Bus& mmio;
  ResetControl& reset_control;
};

/// A device and where its queues run, before a transport carries it.
struct PreparedDevice {
  std::unique_ptr<VirtioDevice> device;
  DeviceWiring wiring;
};

/// I/O threads, one for each of `configs`.
using IoThreads = std::vector<std::unique_ptr<IoThread>>;
/// Errors: the host refuses one; its option is named.
Result<IoThreads> start_iothreads(std::span<const IoThreadConfig> configs);

/// Makes every device of devices.def that the configuration lists, for the memory of `host`.
/// Errors: a device's file, an I/O thread that does not exist.
Result<std::vector<PreparedDevice>> prepare_devices(
    const MachineConfig& config, std::span<const std::unique_ptr<IoThread>> threads,
    const DeviceHost& host);

/// What devices and their queues have counted, all together and each by itself. The system calls
/// are those of queues alone.
MachineCounters counters_of(std::span<const DeviceLife* const> lives);

/// The virtio devices of a machine, each behind the transport that the configuration asks for.
class DeviceSlots {
 public:
  virtual ~DeviceSlots() = default;

  /// Errors: no room for another device.
  virtual Status add(PreparedDevice device) = 0;
  /// What the guest's command line must say about the devices; begins with a blank if not empty.
  [[nodiscard]] virtual std::string cmdline() const { return {}; }
  /// Says where the guest's ACPI finds the devices.
  virtual void describe(AcpiDescription& acpi) const = 0;
  /// Address ranges that the memory map must not call free.
  [[nodiscard]] virtual std::vector<AddressRange> reserved() const { return {}; }

  // vCPUs stand still during these.
  void pause();
  void resume();
  /// As after power-on, registers too.
  virtual void reset() = 0;

  [[nodiscard]] MachineCounters counters() const;
  /// All devices, in their order.
  [[nodiscard]] virtual std::vector<DeviceLife*> lives() const = 0;

 protected:
  DeviceSlots() = default;
  template <class Devices>
  static std::vector<DeviceLife*> lives_of(const Devices& devices) {
    std::vector<DeviceLife*> lives;
    lives.reserve(devices.size());
    for (const auto& device : devices) lives.push_back(&device->life());
    return lives;
  }
};

/// virtio-pci devices behind a PCI root with ports and an ECAM window.
Result<std::unique_ptr<DeviceSlots>> make_pci_slots(const SlotWiring& wiring, PciStyle style);
/// virtio-mmio devices, told to the guest on its command line as Linux takes it.
Result<std::unique_ptr<DeviceSlots>> make_mmio_slots(const SlotWiring& wiring);

}  // namespace bellhop
