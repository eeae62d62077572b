#pragma once

#include <cstddef>
#include <cstdint>

// Not of the standard: where a driver that measures itself (the bench guest with `stamps=on`)
// writes when it offered a request and when it found the answer. The table lies behind the device
// area of the queue (the used ring, or a packed ring's device event), at the next multiple of
// kStampsAlign, and has an entry for each entry of the ring.
namespace bellhop::virtio {

inline constexpr std::size_t kStampsAlign = 64;
inline constexpr std::uint64_t kStampsMagic = 0x7370'6d61'7473'7662;

struct StampsHeader {
  std::uint64_t magic = 0;
  std::uint64_t entries = 0;
};

/// Of the request that has this head; the driver's time-stamp counter.
struct Stamps {
  std::uint64_t offered = 0;
  std::uint64_t seen = 0;
};

/// Bytes of the table.
constexpr std::size_t stamps_bytes(std::size_t entries) {
  return sizeof(StampsHeader) + entries * sizeof(Stamps);
}

}  // namespace bellhop::virtio
