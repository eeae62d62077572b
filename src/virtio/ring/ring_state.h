#pragma once

#include <cstdint>

namespace bellhop {

/// Where a ring stands while nobody serves it and nothing is in flight: all there is to know,
/// beside its QueueConfig and features, to go on later or elsewhere (resume, another server, a
/// snapshot). A plain value; SplitRing::activate() checks it anew. A packed ring has a wrap counter
/// beside each index (virtio 1.3, 2.8.10).
struct RingState {
  std::uint16_t next_avail = 0;  ///< the entry of the available ring that is taken next
  std::uint16_t next_used = 0;   ///< the entry of the used ring that is filled next
  bool broken = false;           ///< the driver broke its rules: not served before a reset

  friend bool operator==(const RingState&, const RingState&) = default;
};

}  // namespace bellhop
