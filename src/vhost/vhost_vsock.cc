#include "vhost/vhost_vsock.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "vhost/vhost_abi.h"
#include "virtio/abi/ring.h"

namespace bellhop {

using namespace virtio;

namespace {

/// VIRTIO_VSOCK_F_SEQPACKET (virtio 1.3, 5.10.3). Stream sockets need no bit.
constexpr std::uint64_t kSocketFeatures = feature_mask(1);

}  // namespace

Result<std::unique_ptr<VhostVsock>> VhostVsock::create(std::uint64_t cid, const Open& open) {
  auto handle = open();
  if (!handle) return forward(handle);
  std::unique_ptr<VhostVsock> vsock(new VhostVsock);
  auto device = VhostDevice::create(std::move(*handle), kDevice, kRingFeatures);
  if (!device) return forward(device);
  vsock->device_ = std::move(*device);
  if (auto set = vsock->device_->control(VHOST_VSOCK_SET_GUEST_CID, "the address", &cid); !set) {
    if (set.error().code == EADDRINUSE) {
      return fail(fmt::format("cid={} is in use by another guest of this host", cid), EADDRINUSE);
    }
    return fail(fmt::format("cid={}: {}", cid, set.error().message), set.error().code);
  }
  for (unsigned i = 0; i < kRings; ++i) {
    VhostRingOwner& owner = *vsock;
    vsock->rings_[i] = std::make_unique<VhostRing>(*vsock->device_, i, owner, i);
  }
  return vsock;
}

Result<std::unique_ptr<VhostVsock>> VhostVsock::create(std::uint64_t cid) {
  return create(cid, [] { return open_vhost(kDevice, "vhost_vsock"); });
}

std::uint64_t VhostVsock::features() const noexcept {
  return device_->features() & kSocketFeatures;
}

Status VhostVsock::begin(std::uint64_t features) {
  return device_->set_features(features & (kRingFeatures | kSocketFeatures));
}

bool VhostVsock::running() const noexcept {
  const std::lock_guard<std::mutex> hold(mutex_);
  return running_;
}

/// Both rings are switched on together, and off together.
Status VhostVsock::run(bool on) {
  if (running_ == on) return {};
  int value = on ? 1 : 0;
  auto set = device_->control(VHOST_VSOCK_SET_RUNNING, on ? "to run" : "to stop", &value);
  if (set) running_ = on;
  if (set && on) {
    for (const auto& ring : rings_) ring->kick();
  }
  return set;
}

Status VhostVsock::ring_ready(unsigned ring) {
  const std::lock_guard<std::mutex> hold(mutex_);
  ready_[ring] = true;
  if (!std::ranges::all_of(ready_, [](bool ready) { return ready; })) return {};
  auto ran = run(true);
  if (!ran) ready_[ring] = false;
  return ran;
}

void VhostVsock::ring_leaves(unsigned ring) noexcept {
  const std::lock_guard<std::mutex> hold(mutex_);
  ready_[ring] = false;
  if (auto stopped = run(false); !stopped) log_.error("{}", stopped.error().message);
}

}  // namespace bellhop
