#include "devices/net/vhost_user_net_device.h"

#include <cstring>

#include "devices/net/net_offloads.h"
#include "virtio/abi/net.h"
#include "virtio/abi/ring.h"
#include "virtio/device/config_space.h"

namespace bellhop {

using namespace virtio;

Result<std::unique_ptr<VhostUserNetDevice>> VhostUserNetDevice::create(
    const Options& options, VhostUserFront::Connect connect, Patience patience) {
  const std::uint64_t frames = feature_mask(kNetFeatureMrgRxbuf) | host_features(Offloads::all()) |
                               guest_features(Offloads::all());
  auto front = VhostUserFront::create({.name = options.id,
                                       .queues = 2,
                                       .least_queue_num = VhostUserNic::pairs,
                                       .features = feature_mask(kFeatureVersion1),
                                       .wanted = kRingFeatures | frames,
                                       .mtu = options.mtu,
                                       .patience = patience},
                                      std::move(connect));
  if (!front) return forward(front);
  return std::unique_ptr<VhostUserNetDevice>(new VhostUserNetDevice(options, std::move(*front)));
}

VhostUserNetDevice::VhostUserNetDevice(const Options& options,
                                       std::unique_ptr<VhostUserFront> front)
    : ProcessServedDevice(
          std::move(front),
          {.type = DeviceType::kNet,
           .id = options.id,
           .features = feature_mask(kNetFeatureMac) | feature_mask(kNetFeatureStatus) |
                       (options.mtu != 0 ? feature_mask(kNetFeatureMtu) : 0),
           .queue_count = 2 * VhostUserNic::pairs,
           .queue_max_size = options.queue_size,
           .config_bytes = sizeof(NetConfig)}),
      mac_(options.mac),
      mtu_(options.mtu) {}

void VhostUserNetDevice::read_config(std::uint32_t offset, std::span<std::byte> data) noexcept {
  NetConfig config{};
  std::byte mac[kNetMacBytes];
  store_mac(mac_, mac);
  std::memcpy(config.mac, mac, sizeof mac);
  config.status = front().connected() ? kNetStatusLinkUp : std::uint16_t{0};
  config.max_virtqueue_pairs = VhostUserNic::pairs;
  config.mtu = mtu_;
  read_config_space(config, offset, data);
}

void VhostUserNetDevice::write_config(std::uint32_t /*offset*/,
                                      std::span<const std::byte>) noexcept {
  // 5.1.4.2: all of it is read-only for a driver of this century.
}

}  // namespace bellhop
