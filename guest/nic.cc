#include "guest/nic.h"

#include "virtio/abi/config.h"
#include "virtio/abi/ring.h"

namespace bellhop::guest {

using namespace bellhop::virtio;

bool Nic::find(unsigned index) {
  transport_ = find_device(static_cast<std::uint16_t>(DeviceType::kNet), index, &room_);
  return transport_ != nullptr;
}

const char* Nic::negotiate(const NicWishes& wishes) {
  std::uint64_t wanted = feature_mask(kFeatureVersion1) | feature_mask(kNetFeatureMac) |
                         feature_mask(kNetFeatureMtu) | feature_mask(kFeatureAccessPlatform);
  if (wishes.event_idx) wanted |= feature_mask(kFeatureEventIdx);
  if (wishes.indirect) wanted |= feature_mask(kFeatureIndirectDesc);
  if (wishes.mergeable) wanted |= feature_mask(kNetFeatureMrgRxbuf);
  // A driver must not take segmentation without checksums (5.1.3.1).
  const std::uint64_t offered = transport_->device_features();
  if (wishes.csum && (offered & feature_mask(kNetFeatureCsum)) != 0) {
    wanted |= feature_mask(kNetFeatureCsum);
    if (wishes.uso) wanted |= feature_mask(kNetFeatureHostUso);
  }
  if (wishes.csum && (offered & feature_mask(kNetFeatureGuestCsum)) != 0) {
    wanted |= feature_mask(kNetFeatureGuestCsum);
    if (wishes.uso) wanted |= feature_mask(kNetFeatureGuestUso4);
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
