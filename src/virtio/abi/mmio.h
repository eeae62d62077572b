#pragma once

#include <cstdint>

// Virtio over MMIO, version 2 (virtio 1.3 section 4.2.2): register offsets in bytes.
namespace bellhop::virtio {

inline constexpr std::uint32_t kMmioMagic = 0x74726976;  // "virt"
inline constexpr std::uint32_t kMmioVersion = 2;

inline constexpr std::uint32_t kMmioMagicValue = 0x000;
inline constexpr std::uint32_t kMmioVersionOffset = 0x004;
inline constexpr std::uint32_t kMmioDeviceId = 0x008;
inline constexpr std::uint32_t kMmioVendorId = 0x00c;
inline constexpr std::uint32_t kMmioDeviceFeatures = 0x010;
inline constexpr std::uint32_t kMmioDeviceFeaturesSel = 0x014;
inline constexpr std::uint32_t kMmioDriverFeatures = 0x020;
inline constexpr std::uint32_t kMmioDriverFeaturesSel = 0x024;
inline constexpr std::uint32_t kMmioQueueSel = 0x030;
inline constexpr std::uint32_t kMmioQueueSizeMax = 0x034;
inline constexpr std::uint32_t kMmioQueueSize = 0x038;
inline constexpr std::uint32_t kMmioQueueReady = 0x044;
inline constexpr std::uint32_t kMmioQueueNotify = 0x050;
inline constexpr std::uint32_t kMmioInterruptStatus = 0x060;
inline constexpr std::uint32_t kMmioInterruptAck = 0x064;
inline constexpr std::uint32_t kMmioStatus = 0x070;
inline constexpr std::uint32_t kMmioQueueDescLow = 0x080;
inline constexpr std::uint32_t kMmioQueueDescHigh = 0x084;
inline constexpr std::uint32_t kMmioQueueDriverLow = 0x090;
inline constexpr std::uint32_t kMmioQueueDriverHigh = 0x094;
inline constexpr std::uint32_t kMmioQueueDeviceLow = 0x0a0;
inline constexpr std::uint32_t kMmioQueueDeviceHigh = 0x0a4;
inline constexpr std::uint32_t kMmioShmSel = 0x0ac;
inline constexpr std::uint32_t kMmioShmLenLow = 0x0b0;
inline constexpr std::uint32_t kMmioShmLenHigh = 0x0b4;
inline constexpr std::uint32_t kMmioShmBaseLow = 0x0b8;
inline constexpr std::uint32_t kMmioShmBaseHigh = 0x0bc;
inline constexpr std::uint32_t kMmioQueueReset = 0x0c0;
inline constexpr std::uint32_t kMmioConfigGeneration = 0x0fc;
inline constexpr std::uint32_t kMmioConfig = 0x100;
/// Size of the window that a VMM gives one device.
inline constexpr std::uint32_t kMmioWindowBytes = 0x200;

}  // namespace bellhop::virtio
