#pragma once

#include <cstdint>

namespace bellhop {

/// Where a ring stands while nobody serves it and nothing is in flight: all there is to know,
/// beside its QueueConfig and features, to go on later or elsewhere (resume, another server, a
/// snapshot). A plain value; Ring::activate() checks it anew.
struct RingState {
  std::uint16_t next_avail = 0;  ///< the entry of the available ring that is taken next
  std::uint16_t next_used = 0;   ///< the entry of the used ring that is filled next
  bool broken = false;           ///< the driver broke its rules: not served before a reset
  // Of a packed ring, whose entries are its descriptors: the wrap counters (virtio 1.3, 2.8.1).
  bool avail_wrap = true;
  bool used_wrap = true;

  friend bool operator==(const RingState&, const RingState&) = default;
};

/// A packed ring's as vhost-user's VRING_BASE messages have it: the available index in bits 0 to
/// 14 with its wrap counter in bit 15, the used ones in the upper half.
constexpr std::uint32_t packed_base(const RingState& state) noexcept {
  const auto half = [](std::uint16_t index, bool wrap) {
    return (index & 0x7fffU) | (wrap ? 0x8000U : 0U);
  };
  return half(state.next_avail, state.avail_wrap) | half(state.next_used, state.used_wrap) << 16;
}
/// Some front ends (DPDK) leave the upper half 0: the ring rests, and both are at the same place.
constexpr RingState ring_state_of_packed_base(std::uint32_t base) noexcept {
  if (base >> 16 == 0) base |= base << 16;
  return {.next_avail = static_cast<std::uint16_t>(base & 0x7fffU),
          .next_used = static_cast<std::uint16_t>(base >> 16 & 0x7fffU),
          .avail_wrap = (base & 0x8000U) != 0,
          .used_wrap = (base >> 31) != 0};
}

}  // namespace bellhop
