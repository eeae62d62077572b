#pragma once

#include <cstdint>

namespace bellhop {

/// Guest-physical addresses, or ports.
struct AddressRange {
  std::uint64_t address = 0;
  std::uint64_t size = 0;

  [[nodiscard]] constexpr std::uint64_t end() const noexcept { return address + size; }
  [[nodiscard]] constexpr bool holds(const AddressRange& other) const noexcept {
    return other.address >= address && other.end() <= end();
  }
};

// Where everything lies in a machine. dsdt.asl and pci.asl say some of it to the guest once more; a
// test compares.

// ---- memory ----

/// A PC's legacy area: no kernel takes it for RAM, although RAM is there.
inline constexpr AddressRange kLegacyArea{0xa0000, 0x60000};
/// Where ACPI's tables lie: in the part of the legacy area in which kernels look for the root
/// pointer when their boot protocol does not tell them.
inline constexpr AddressRange kAcpiArea{0xe0000, 0x20000};
/// RAM lies below it and, what is left, above.
inline constexpr AddressRange kRamHole{0xc000'0000, 0x4000'0000};
/// A machine has one of the two: the configuration of PCI bus 0 (ECAM), or a page for each
/// virtio-mmio device.
inline constexpr AddressRange kEcam{0xd000'0000, 0x10'0000};
inline constexpr AddressRange kVirtioMmio{0xd000'0000, 0x1'1000};
inline constexpr std::uint64_t kVirtioMmioStride = 0x1000;
/// From which BARs are assigned.
inline constexpr AddressRange kPciMemory{0xe000'0000, 0x0800'0000};
inline constexpr AddressRange kIoapic{0xfec0'0000, 0x1000};
inline constexpr AddressRange kLapic{0xfee0'0000, 0x1000};

static_assert(kLegacyArea.holds(kAcpiArea));
static_assert(kRamHole.holds(kEcam) && kRamHole.holds(kVirtioMmio) && kRamHole.holds(kPciMemory) &&
              kRamHole.holds(kIoapic) && kRamHole.holds(kLapic));
static_assert(kEcam.end() <= kPciMemory.address && kVirtioMmio.end() <= kPciMemory.address &&
              kPciMemory.end() <= kIoapic.address && kIoapic.end() <= kLapic.address);

// ---- ports ----

inline constexpr AddressRange kResetPorts{0x64, 1};  ///< the keyboard controller's reset line
inline constexpr AddressRange kRtcPorts{0x70, 2};
inline constexpr AddressRange kDebugExitPorts{0xf4, 8};
inline constexpr AddressRange kCom1Ports{0x3f8, 8};
inline constexpr AddressRange kPanicPorts{0x505, 1};
inline constexpr AddressRange kAcpiPmPorts{0x600, 16};
inline constexpr AddressRange kPciHotplugPorts{0x610, 12};
/// Configuration mechanism 1. On a machine without PCI only the reset control in it is there.
inline constexpr AddressRange kPciConfigPorts{0xcf8, 8};
inline constexpr AddressRange kResetControlPorts{0xcf9, 1};
inline constexpr AddressRange kPciPorts{0x1000, 0xf000};  ///< from which BARs are assigned

}  // namespace bellhop
