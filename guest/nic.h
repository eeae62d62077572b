#pragma once

#include <cstdint>

#include "guest/split_queue.h"
#include "guest/transport.h"
#include "virtio/abi/net.h"

// A virtio network device (virtio 1.3 section 5.1): features and configuration.
namespace bellhop::guest {

inline constexpr std::uint32_t kMacBytes = virtio::kNetMacBytes;

/// What the driver would like to have.
struct NicFeatures {
  bool event_idx = true;
  bool indirect = false;
  bool csum = true;  ///< checksums left to the device, both ways
  bool uso = true;   ///< and with them the cutting of large UDP frames
  bool mergeable = true;
};

class Nic {
 public:
  static constexpr std::uint16_t kReceiveQueue = 0;
  static constexpr std::uint16_t kTransmitQueue = 1;

  Nic() = default;
  Nic(const Nic&) = delete;  // the transport is part of it
  Nic& operator=(const Nic&) = delete;

  /// The `index`-th network device; false if there is none.
  bool find(unsigned index);
  /// Resets the device and brings it to FEATURES_OK (3.1.1). Null, or what went wrong.
  const char* negotiate(const NicFeatures& features);

  Transport* transport() { return transport_; }
  bool has(unsigned feature) const { return (features_ & virtio::feature_mask(feature)) != 0; }
  std::uint64_t features() const { return features_; }
  const std::uint8_t* mac() const { return mac_; }
  /// The largest IP packet.
  std::uint32_t mtu() const { return mtu_; }

 private:
  TransportRoom room_;
  Transport* transport_ = nullptr;
  std::uint64_t features_ = 0;
  std::uint32_t mtu_ = 1500;
  std::uint8_t mac_[kMacBytes] = {0x52, 0x54, 0x00, 0xbe, 0x11, 0x02};  // local, if it has none
};

}  // namespace bellhop::guest
