#pragma once

#include <cstdint>

#include "virtio/abi/config.h"
#include "virtio/abi/pci.h"

// The legacy interface of a transitional virtio-pci device (virtio 1.3 section 4.1.4.10): registers
// in I/O space, at BAR 0.
namespace bellhop::virtio {

inline constexpr std::uint32_t kLegacyDeviceFeatures = 0;  // 32 bits, read
inline constexpr std::uint32_t kLegacyDriverFeatures = 4;  // 32 bits
inline constexpr std::uint32_t kLegacyQueueAddress = 8;    // 32 bits: page number of the ring
inline constexpr std::uint32_t kLegacyQueueSize = 12;      // 16 bits, read
inline constexpr std::uint32_t kLegacyQueueSelect = 14;    // 16 bits
inline constexpr std::uint32_t kLegacyQueueNotify = 16;    // 16 bits: the queue's number
inline constexpr std::uint32_t kLegacyDeviceStatus = 18;   // 8 bits
inline constexpr std::uint32_t kLegacyIsr = 19;            // 8 bits, read
/// Only while MSI-X is enabled; else the device's own configuration begins here.
inline constexpr std::uint32_t kLegacyConfigVector = 20;  // 16 bits
inline constexpr std::uint32_t kLegacyQueueVector = 22;   // 16 bits
inline constexpr std::uint32_t kLegacyConfig = 20;
inline constexpr std::uint32_t kLegacyConfigWithMsix = 24;

/// The ring is one piece (2.7.2): descriptors, available ring, and the used ring on the next page.
inline constexpr unsigned kLegacyPageShift = 12;
inline constexpr std::uint64_t kLegacyPage = std::uint64_t{1} << kLegacyPageShift;

/// Transitional device ids (4.1.2.1); 0 for types that legacy drivers do not know.
inline constexpr std::uint16_t pci_transitional_id(DeviceType type) {
  switch (type) {
    case DeviceType::kNet:
      return 0x1000;
    case DeviceType::kBlock:
      return 0x1001;
    case DeviceType::kBalloon:
      return 0x1002;
    case DeviceType::kConsole:
      return 0x1003;
    case DeviceType::kScsi:
      return 0x1004;
    case DeviceType::kRng:
      return 0x1005;
    case DeviceType::kNinep:
      return 0x1009;
    default:
      return 0;
  }
}

}  // namespace bellhop::virtio
