#pragma once

#include <cstdint>

#include "memory/guest_address.h"

namespace bellhop {

/// What the driver wrote into a queue's registers (virtio 1.3, 4.1.4.3 and 4.2.2). A plain value:
/// Ring::activate() checks it and makes a ring of it.
struct QueueConfig {
  std::uint16_t size = 0;  ///< entries
  bool ready = false;
  GuestAddress desc;
  GuestAddress driver;  ///< the available ring, or what the driver wants to hear (2.8.14)
  GuestAddress device;  ///< the used ring, or what the device wants to hear
};

/// Ring features that were negotiated.
struct RingFeatures {
  bool indirect = false;
  bool event_idx = false;
  bool packed = false;
  bool in_order = false;
};

}  // namespace bellhop
