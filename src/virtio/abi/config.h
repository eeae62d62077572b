#pragma once

#include <cstdint>

// Parts common to every transport: status bits (virtio 1.3 section 2.1), device types (5),
// interrupt status bits.
namespace bellhop::virtio {

// Device status (2.1).
inline constexpr std::uint8_t kStatusReset = 0;
inline constexpr std::uint8_t kStatusAcknowledge = 1;
inline constexpr std::uint8_t kStatusDriver = 2;
inline constexpr std::uint8_t kStatusDriverOk = 4;
inline constexpr std::uint8_t kStatusFeaturesOk = 8;
inline constexpr std::uint8_t kStatusNeedsReset = 64;
inline constexpr std::uint8_t kStatusFailed = 128;

// Interrupt status: PCI ISR (4.1.4.5) and mmio InterruptStatus (4.2.2) share the bits.
inline constexpr std::uint8_t kInterruptUsedBuffer = 1;
inline constexpr std::uint8_t kInterruptConfig = 2;

/// Device types (section 5).
enum class DeviceType : std::uint16_t {
  kNet = 1,
  kBlock = 2,
  kConsole = 3,
  kRng = 4,
  kBalloon = 5,
  kScsi = 8,
  kNinep = 9,
  kInput = 18,
  kVsock = 19,
  kCrypto = 20,
  kIommu = 23,
  kMem = 24,
  kFs = 26,
  kPmem = 27,
};

}  // namespace bellhop::virtio
