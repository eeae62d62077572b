#pragma once

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "virtio/abi/ring.h"
#include "virtio/ring/queue_config.h"

namespace bellhop::testing {

/// Which rings the fixtures of devices and transports drive: packed ones where the environment says
/// BELLHOP_TEST_RING=packed, used in order where it says in-order, and both with packed-in-order,
/// so that every test runs on all of them.
inline std::string_view tested_ring_kind() {
  const char* const ring = std::getenv("BELLHOP_TEST_RING");
  return ring != nullptr ? ring : "";
}
inline bool tests_packed_rings() { return tested_ring_kind().starts_with("packed"); }
inline bool tests_rings_in_order() { return tested_ring_kind().ends_with("in-order"); }

/// What a device is to offer for them beside virtio::kRingFeatures, and the driver to take.
inline std::uint64_t tested_ring_features() {
  return (tests_packed_rings() ? virtio::feature_mask(virtio::kFeatureRingPacked) : 0) |
         (tests_rings_in_order() ? virtio::feature_mask(virtio::kFeatureInOrder) : 0);
}

inline RingFeatures tested_ring(RingFeatures features) {
  features.packed = tests_packed_rings();
  features.in_order = tests_rings_in_order();
  return features;
}

}  // namespace bellhop::testing
