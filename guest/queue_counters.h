#pragma once

#include <cstdint>

namespace bellhop::guest {

/// Counters of one queue, in events.
struct QueueCounters {
  std::uint64_t kicks = 0;
  std::uint64_t suppressed = 0;  ///< batches published without a kick, since the device asked so
};

}  // namespace bellhop::guest
