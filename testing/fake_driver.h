#pragma once

#include <cstdint>

#include "testing/test_memory.h"
#include "virtio/ring/driver_ring.h"

namespace bellhop::testing {

/// The driver's end of a ring for unit tests, fuzzers and benchmarks: a good driver, and the raw
/// writes of one that is not.
class FakeDriver : public DriverRing {
 public:
  FakeDriver(const GuestMemory& memory, GuestAddress base, std::uint16_t size,
             RingFeatures features = {}, std::uint64_t used_alignment = 64)
      : DriverRing(must(create(memory, base, size, features, used_alignment))) {}

  using DriverRing::avail_idx;
  using DriverRing::push_head;
  using DriverRing::set_avail_flags;
  using DriverRing::set_avail_idx;
  using DriverRing::set_desc;
  using DriverRing::set_used_event;
};

}  // namespace bellhop::testing
