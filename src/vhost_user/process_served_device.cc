#include "vhost_user/process_served_device.h"

#include <fmt/format.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "base/connecting.h"

namespace bellhop {

ProcessServedDevice::ProcessServedDevice(std::unique_ptr<VhostUserFront> front, DeviceTraits traits)
    : front_(std::move(front)), traits_(std::move(traits)) {
  constexpr std::uint64_t kOfRings = virtio::kRingFeatures | kMoreRingFeatures;
  traits_.features |= front_->features() & ~kOfRings;
  traits_.ring_features = front_->features() & kOfRings;
  front_->on_change([this] { config_changed(); });
}

ServerChoice ProcessServedDevice::server(unsigned /*queue*/,
                                         std::uint64_t /*features*/) const noexcept {
  return {.server = Server::kProcess, .required = true};
}

Status ProcessServedDevice::offload(std::uint64_t features,
                                    std::span<OffloadedQueue* const> queues) {
  if (auto begun = front_->begin(features); !begun) return begun;
  OffloadedQueue* any = nullptr;
  for (unsigned i = 0; i < queues.size(); ++i) {
    if (queues[i] == nullptr) continue;
    queues[i]->set_back_end(front_->ring(i));
    any = queues[i];
  }
  return any != nullptr ? front_->watch(any->thread()) : Status();
}

Status ProcessServedDevice::activate(std::uint64_t /*features*/,
                                     std::span<QueueRunner* const> /*queues*/) {
  return {};  // no queue is ours
}

void ProcessServedDevice::reset() noexcept { front_->unwatch(); }

std::vector<DeviceStat> ProcessServedDevice::stats() const {
  return {{"vhost_user_queues", front_->served(), true}, {"lost_connections", front_->losses()}};
}

VhostUserFront::Connect connector_to(std::string option, std::string path) {
  return [option = std::move(option), path = std::move(path)](
             vhost_user::Channel::Patience patience) -> Result<vhost_user::Channel> {
    std::optional<Result<vhost_user::Channel>> made;
    const auto ran =
        run_connecting(option, [&] { made = vhost_user::Channel::connect(path, patience); });
    if (!ran) return forward(ran);
    return std::move(*made);
  };
}

Status check_rings(const ProcessServedDevice& device, std::uint64_t asked) {
  const std::uint64_t missing = asked & ~device.traits().ring_features;
  if ((missing & virtio::feature_mask(virtio::kFeatureRingPacked)) != 0) {
    return fail("the back end does not offer packed rings (packed=on)", ENOTSUP);
  }
  if ((missing & virtio::feature_mask(virtio::kFeatureInOrder)) != 0) {
    return fail("the back end does not offer to use buffers in order (in-order=on)", ENOTSUP);
  }
  return {};
}

Status check_shared(const GuestMemory& memory, const std::string& option) {
  if (memory.shared()) return {};
  return fail(fmt::format("{}: the guest's memory is not shared (--memory SIZE,shared)", option),
              EINVAL);
}

}  // namespace bellhop
