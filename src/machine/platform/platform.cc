#include "machine/platform/platform.h"

#include <utility>

#include "machine/address_map.h"

namespace bellhop {

Platform::Platform(Wiring wiring)
    : wiring_(std::move(wiring)),
      serial_(wiring_.serial_output,
              [this](bool level) { wiring_.set_line(Serial16550::kCom1Irq, level); }),
      power_(
          [this] {
            wiring_.end({MachineEnd::Kind::kPowerOff, 0, {}});
          },
          [this](bool level) { wiring_.set_line(AcpiPm::kSci, level); }),
      reset_port_([this] {
        wiring_.end({MachineEnd::Kind::kReset, 0, {}});
      }),
      reset_control_([this] {
        wiring_.end({MachineEnd::Kind::kReset, 0, {}});
      }),
      panic_port_([this] {
        wiring_.end({MachineEnd::Kind::kPanic, 0, {}});
      }),
      hotplug_([this] { power_.raise(PciHotplug::kGpe); },
               [this] {
                 if (wiring_.let_go) wiring_.let_go();
               }),
      debug_port_(
          [this](std::uint32_t code) {
            wiring_.end({MachineEnd::Kind::kExitPort, code, {}});
          },
          [this](std::uint32_t value) {
            if (wiring_.marker) wiring_.marker(value);
          }) {}

static_assert(kCom1Ports.size == Serial16550::kPorts && kAcpiPmPorts.size == AcpiPm::kPorts &&
              kRtcPorts.size == CmosRtc::kPorts && kResetPorts.size == ResetPort::kPorts &&
              kPanicPorts.size == PanicPort::kPorts &&
              kDebugExitPorts.size == DebugExitPort::kPorts &&
              kResetControlPorts.size == ResetControl::kPorts);

Status Platform::connect(Bus& ports) {
  struct Place {
    AddressRange ports;
    BusDevice& device;
  };
  for (const Place& place :
       {Place{kCom1Ports, serial_}, Place{kAcpiPmPorts, power_}, Place{kRtcPorts, rtc_},
        Place{kResetPorts, reset_port_}, Place{kPanicPorts, panic_port_},
        Place{kDebugExitPorts, debug_port_}}) {
    if (auto put = ports.insert(place.ports.address, place.ports.size, place.device); !put)
      return put;
  }
  return {};
}

void Platform::reset() noexcept {
  serial_.reset();
  power_.reset();
  rtc_.reset();
  reset_control_.reset();
}

}  // namespace bellhop
