#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "base/result.h"
#include "bus/bus.h"
#include "machine/machine_end.h"
#include "machine/platform/acpi_pm.h"
#include "machine/platform/cmos_rtc.h"
#include "machine/platform/debug_exit_port.h"
#include "machine/platform/panic_port.h"
#include "machine/platform/pci_hotplug.h"
#include "machine/platform/reset_control.h"
#include "machine/platform/reset_port.h"
#include "machine/platform/serial_16550.h"

namespace bellhop {

/// The chips that a PC has on its board, as far as kernels expect them, at their ports.
class Platform {
 public:
  /// All are called on a vCPU thread, `set_line` on any.
  struct Wiring {
    Serial16550::Output serial_output;
    std::function<void(unsigned gsi, bool level)> set_line;
    std::function<void(MachineEnd)> end;
    std::function<void(std::uint32_t)> marker;
    /// A device has been let go: PciHotplug.
    std::function<void()> let_go;
  };

  explicit Platform(Wiring wiring);

  /// Errors: a port is taken.
  Status connect(Bus& ports);
  /// Back to the state after power-on.
  void reset() noexcept;

  [[nodiscard]] Serial16550& serial() noexcept { return serial_; }
  /// Not among what connect() connects: its port lies within those of a PCI bus.
  [[nodiscard]] ResetControl& reset_control() noexcept { return reset_control_; }
  [[nodiscard]] AcpiPm& power() noexcept { return power_; }
  /// Not connected either: machines with PCI have it.
  [[nodiscard]] PciHotplug& hotplug() noexcept { return hotplug_; }

 private:
  Wiring wiring_;
  Serial16550 serial_;
  AcpiPm power_;
  CmosRtc rtc_;
  ResetPort reset_port_;
  ResetControl reset_control_;
  PanicPort panic_port_;
  PciHotplug hotplug_;
  DebugExitPort debug_port_;
};

}  // namespace bellhop
