#include "machine/platform/platform.h"

#include <utility>

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
      debug_port_(
          [this](std::uint32_t code) {
            wiring_.end({MachineEnd::Kind::kExitPort, code, {}});
          },
          [this](std::uint32_t value) {
            if (wiring_.marker) wiring_.marker(value);
          }) {}

Status Platform::connect(Bus& ports) {
  struct Place {
    std::uint64_t base;
    std::uint64_t count;
    BusDevice& device;
  };
  for (const Place& place :
       {Place{Serial16550::kCom1, Serial16550::kPorts, serial_},
        Place{AcpiPm::kBase, AcpiPm::kPorts, power_}, Place{CmosRtc::kPort, CmosRtc::kPorts, rtc_},
        Place{ResetPort::kPort, ResetPort::kPorts, reset_port_},
        Place{PanicPort::kPort, PanicPort::kPorts, panic_port_},
        Place{DebugExitPort::kExitPort, DebugExitPort::kPorts, debug_port_}}) {
    if (auto put = ports.insert(place.base, place.count, place.device); !put) return put;
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
