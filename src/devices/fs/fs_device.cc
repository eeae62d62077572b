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
    : front_(std::move(front)) {
  std::memcpy(space_.tag, config.tag.data(), std::min(config.tag.size(), sizeof space_.tag));
  space_.num_request_queues = config.num_queues;
  traits_ = {.type = DeviceType::kFs,
             .id = config.id,
             .features = 0,
             .queue_count = static_cast<std::uint16_t>(config.offloaded_queues()),
             .queue_max_size = config.queue_size,
             .config_bytes = sizeof space_};
}

void FsDevice::read_config(std::uint32_t offset, std::span<std::byte> data) noexcept {
  read_config_space(space_, offset, data);
}

void FsDevice::write_config(std::uint32_t /*offset*/, std::span<const std::byte>) noexcept {
  // 5.11.4: read-only.
}

ServerChoice FsDevice::server(unsigned /*queue*/, std::uint64_t /*features*/) const noexcept {
  return {.server = Server::kProcess, .required = true};
}

Status FsDevice::offload(std::uint64_t features, std::span<OffloadedQueue* const> queues) {
  if (auto begun = front_->begin(features); !begun) return begun;
  OffloadedQueue* any = nullptr;
  for (unsigned i = 0; i < queues.size(); ++i) {
    if (queues[i] == nullptr) continue;
    queues[i]->set_back_end(front_->ring(i));
    any = queues[i];
  }
  return any != nullptr ? front_->watch(any->thread()) : Status();
}

Status FsDevice::activate(std::uint64_t /*features*/, std::span<QueueRunner* const> /*queues*/) {
  return {};  // no queue is ours
}

void FsDevice::reset() noexcept { front_->unwatch(); }

std::vector<DeviceStat> FsDevice::stats() const {
  return {{"vhost_user_queues", front_->served(), true}, {"lost_connections", front_->losses()}};
}

}  // namespace bellhop
