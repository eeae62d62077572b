#pragma once

#include <cstdint>
#include <span>

#include "memory/guest_address.h"

namespace bellhop {

/// A buffer that a driver offers as a part of a chain.
struct DriverBuffer {
  GuestAddress address;
  std::uint32_t length = 0;  ///< bytes
  bool device_writes = false;
};

/// Bytes of them that the device may write.
inline std::uint32_t writable_bytes(std::span<const DriverBuffer> buffers) noexcept {
  std::uint32_t bytes = 0;
  for (const DriverBuffer& buffer : buffers) bytes += buffer.device_writes ? buffer.length : 0;
  return bytes;
}

/// A chain that came back to its driver.
struct UsedChain {
  std::uint32_t id = 0;      ///< the head that add() returned
  std::uint32_t length = 0;  ///< bytes that the device wrote
};

/// Of the indirect table that a driver's ring has room for behind each head.
inline constexpr std::uint32_t kDriverIndirectEntries = 16;

}  // namespace bellhop
