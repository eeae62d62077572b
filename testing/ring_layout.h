#pragma once

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "virtio/abi/ring.h"
#include "virtio/ring/queue_config.h"

namespace bellhop::testing {

/// Which rings the fixtures of devices and transports drive: packed ones where the environment says
/// BELLHOP_TEST_RING=packed, so that every test runs on both.
inline bool tests_packed_rings() {
  const char* const ring = std::getenv("BELLHOP_TEST_RING");
  return ring != nullptr && std::string_view(ring) == "packed";
}

/// What a device is to offer for them beside virtio::kRingFeatures, and the driver to take.
inline std::uint64_t tested_ring_features() {
  return tests_packed_rings() ? virtio::feature_mask(virtio::kFeatureRingPacked) : 0;
}

inline RingFeatures tested_ring(RingFeatures features) {
  features.packed = tests_packed_rings();
  return features;
}

}  // namespace bellhop::testing
