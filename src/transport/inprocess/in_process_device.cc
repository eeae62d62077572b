#include "transport/inprocess/in_process_device.h"

#include <utility>

#include "virtio/abi/ring.h"

namespace bellhop {

Result<std::unique_ptr<InProcessDevice>> InProcessDevice::create(
    std::unique_ptr<VirtioDevice> device, DeviceWiring wiring) {
  std::unique_ptr<InProcessDevice> made(new InProcessDevice());
  auto life = DeviceLife::create(std::move(device), std::move(wiring), *made, *made);
  if (!life) return forward(life);
  made->life_ = std::move(*life);
  for (unsigned i = 0; i < made->life_->queue_count(); ++i) {
    auto call = EventFd::create();
    if (!call) return forward(call);
    made->calls_.push_back(std::move(*call));
  }
  for (unsigned i = 0; i < made->life_->queue_count(); ++i) {
    made->life_->set_queue_interrupt(i, &made->calls_[i]);
  }
  return made;
}

InProcessDevice::~InProcessDevice() {
  if (life_) life_->reset();
}

RingFeatures InProcessDevice::ring_features(std::uint64_t features) noexcept {
  using namespace virtio;
  return {.indirect = (features & feature_mask(kFeatureIndirectDesc)) != 0,
          .event_idx = (features & feature_mask(kFeatureEventIdx)) != 0,
          .packed = (features & feature_mask(kFeatureRingPacked)) != 0,
          .in_order = (features & feature_mask(kFeatureInOrder)) != 0};
}

Status InProcessDevice::start(std::uint64_t features, std::span<const QueueConfig> queues) {
  life_->reset();
  for (unsigned i = 0; i < queues.size(); ++i) {
    life_->change_queue(i, [&](QueueConfig& config) { config = queues[i]; });
  }
  auto started = life_->start(features, HostFaults::kReturned);
  if (!started) life_->reset();
  return started;
}

void InProcessDevice::kick(unsigned queue) noexcept {
  const auto drained_here = [this, queue] {
    return life_->server(queue) == Server::kDevice && life_->drain(queue) == Drain::kByVcpu;
  };
  if (!drained_here()) {
    life_->doorbell(queue).signal();
    // If the way has changed meanwhile, nobody listens there.
    if (!drained_here()) return;
  }
  life_->notify(queue);
}

}  // namespace bellhop
