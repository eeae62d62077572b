#include "guest/nic.h"

#include "virtio/abi/config.h"
#include "virtio/abi/ring.h"

namespace bellhop::guest {

using namespace bellhop::virtio;

bool Nic::find(unsigned index) {
  transport_ = find_device(static_cast<std::uint16_t>(DeviceType::kNet), index, &room_);
  return transport_ != nullptr;
}

const char* Nic::negotiate(const NicFeatures& features) {
  std::uint64_t wanted = feature_mask(kFeatureVersion1) | feature_mask(kNetFeatureMac) |
                         feature_mask(kNetFeatureMtu) | feature_mask(kFeatureAccessPlatform);
  if (features.event_idx) wanted |= feature_mask(kFeatureEventIdx);
  if (features.indirect) wanted |= feature_mask(kFeatureIndirectDesc);
  if (features.mergeable) wanted |= feature_mask(kNetFeatureMrgRxbuf);
  // A driver must not take segmentation without checksums (5.1.3.1).
  const std::uint64_t offered = transport_->device_features();
  if (features.csum && (offered & feature_mask(kNetFeatureCsum)) != 0) {
    wanted |= feature_mask(kNetFeatureCsum);
    if (features.uso) wanted |= feature_mask(kNetFeatureHostUso);
  }
  if (features.csum && (offered & feature_mask(kNetFeatureGuestCsum)) != 0) {
    wanted |= feature_mask(kNetFeatureGuestCsum);
    // Some hosts have the two together or not at all. Nobody sends IPv6 here.
    if (features.uso) {
      wanted |= feature_mask(kNetFeatureGuestUso4) | feature_mask(kNetFeatureGuestUso6);
    }
  }
  std::uint64_t seen = 0;
  const char* error = transport_->negotiate(wanted, &seen, &features_);
  if (error != nullptr) return error;
  if (has(kNetFeatureMac)) {
    for (std::uint32_t i = 0; i < kMacBytes; ++i) {
      mac_[i] = transport_->config_read8(offsetof(NetConfig, mac) + i);
    }
  }
  if (has(kNetFeatureMtu)) {
    const auto low = transport_->config_read8(offsetof(NetConfig, mtu));
    const auto high = transport_->config_read8(offsetof(NetConfig, mtu) + 1);
    mtu_ = static_cast<std::uint32_t>(low | high << 8);
  }
  return nullptr;
}

}  // namespace bellhop::guest
