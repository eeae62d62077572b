#include "devices/fs/fs_device.h"

#include <algorithm>
#include <cstring>

#include "virtio/abi/ring.h"
#include "virtio/device/config_space.h"

namespace bellhop {

using namespace virtio;

Result<std::unique_ptr<FsDevice>> FsDevice::create(const FsConfig& config,
                                                   VhostUserFront::Connect connect,
                                                   Patience patience) {
  auto front = VhostUserFront::create({.name = config.id,
                                       .queues = config.offloaded_queues(),
                                       .features = kRingFeatures,
                                       .patience = patience},
                                      std::move(connect));
  if (!front) return forward(front);
  return std::unique_ptr<FsDevice>(new FsDevice(config, std::move(*front)));
}

FsDevice::FsDevice(const FsConfig& config, std::unique_ptr<VhostUserFront> front)
    : ProcessServedDevice(std::move(front),
                          {.type = DeviceType::kFs,
                           .id = config.id,
                           .queue_count = static_cast<std::uint16_t>(config.offloaded_queues()),
                           .queue_max_size = config.queue_size,
                           .config_bytes = sizeof space_}) {
  std::memcpy(space_.tag, config.tag.data(), std::min(config.tag.size(), sizeof space_.tag));
  space_.num_request_queues = config.num_queues;
}

void FsDevice::read_config(std::uint32_t offset, std::span<std::byte> data) noexcept {
  read_config_space(space_, offset, data);
}

void FsDevice::write_config(std::uint32_t /*offset*/, std::span<const std::byte>) noexcept {
  // 5.11.4: read-only.
}

}  // namespace bellhop
