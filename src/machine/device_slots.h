#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bus/bus.h"
#include "config/machine_config.h"
#include "devices/device_config.h"
#include "event/io_thread.h"
#include "machine/acpi/acpi_tables.h"
#include "machine/boot/memory_map.h"
#include "machine/machine_counters.h"
#include "machine/platform/pci_hotplug.h"
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
  PciHotplug& hotplug;
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

  /// Errors: no room for another device (code ENOSPC).
  virtual Status add(PreparedDevice device) = 0;

  // Devices that come and go while the machine lives; on machines without PCI none do.

  /// Adds one and tells the guest. `prepare` is called when there is room for it, and before a
  /// guest can find it. Returns its place on the bus, "0000:00:05.0". Errors: as add(); what
  /// `prepare` says; there is no such bus (code ENOTSUP).
  virtual Result<std::string> plug(PreparedDevice device,
                                   const std::function<Status(DeviceLife&)>& prepare);
  /// Asks the guest to let the device go. Errors: there is no such bus (code ENOTSUP).
  virtual Status ask_for(std::string_view id);
  /// Which the guest has let go, or which it was asked for when it was reset: to be taken away.
  [[nodiscard]] virtual std::vector<std::string> let_go() { return {}; }
  /// Takes a device away: nobody answers in its place any more. It is gone when what this returns
  /// is; vCPUs stand still until then.
  [[nodiscard]] virtual std::shared_ptr<void> remove(std::string_view /*id*/) { return nullptr; }

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
