#include "vhost/vhost_net.h"

#include <algorithm>

#include "vhost/vhost_abi.h"
#include "virtio/abi/net.h"
#include "virtio/abi/ring.h"

namespace bellhop {

using namespace virtio;

namespace {

/// What rings and frames look like. Offloads are between driver and tap, and everything else is the
/// control queue's, which stays with the device. No VHOST_BACKEND_F_*: they are for IOMMUs.
constexpr std::uint64_t kFeatures = kRingFeatures | feature_mask(kNetFeatureMrgRxbuf);

}  // namespace

Result<std::unique_ptr<VhostNet>> VhostNet::create(std::span<const int> taps, const Open& open) {
  std::unique_ptr<VhostNet> net(new VhostNet);
  net->taps_.assign(taps.begin(), taps.end());
  for (unsigned pair = 0; pair < taps.size(); ++pair) {
    auto handle = open();
    if (!handle) return forward(handle);
    auto device = VhostDevice::create(std::move(*handle), kDevice, kFeatures);
    if (!device) return forward(device);
    net->devices_.push_back(std::move(*device));
    for (unsigned i = 0; i < 2; ++i) {
      VhostRingOwner& owner = *net;
      net->rings_.push_back(
          {.ring = std::make_unique<VhostRing>(*net->devices_.back(), i, owner, 2 * pair + i)});
    }
  }
  return net;
}

Result<std::unique_ptr<VhostNet>> VhostNet::create(std::span<const int> taps) {
  return create(taps, [] { return open_vhost(kDevice, "vhost_net"); });
}

Status VhostNet::begin(std::uint64_t features) {
  const std::lock_guard<std::mutex> hold(mutex_);
  pairs_in_use_ = 1;
  for (const auto& device : devices_) {
    if (auto set = device->set_features(features & kFeatures); !set) return set;
  }
  return {};
}

unsigned VhostNet::served() const noexcept {
  const std::lock_guard<std::mutex> hold(mutex_);
  return static_cast<unsigned>(std::ranges::count(rings_, true, &Ring::served));
}

std::uint64_t VhostNet::starts() const noexcept {
  const std::lock_guard<std::mutex> hold(mutex_);
  return starts_;
}

/// Gives the tap to a ring that is to be served, and takes it from one that is not. mutex_ is held.
Status VhostNet::update(unsigned ring) {
  Ring& one = rings_[ring];
  const bool wanted = one.ready && link_ && ring / 2 < pairs_in_use_;
  if (wanted == one.served) return {};
  vhost_vring_file backend{};
  backend.index = ring % 2;
  backend.fd = wanted ? taps_[ring / 2] : VHOST_FILE_UNBIND;
  // Taken away: returns when the kernel has given back all that it had taken.
  if (auto set = devices_[ring / 2]->control(VHOST_NET_SET_BACKEND,
                                             wanted ? "the tap" : "to let go of the tap", &backend);
      !set) {
    return set;
  }
  one.served = wanted;
  if (!wanted) return {};
  ++starts_;
  // What was offered while nobody listened.
  one.ring->kick();
  return {};
}

Status VhostNet::ring_ready(unsigned ring) {
  const std::lock_guard<std::mutex> hold(mutex_);
  rings_[ring].ready = true;
  auto updated = update(ring);
  if (!updated) rings_[ring].ready = false;
  return updated;
}

void VhostNet::ring_leaves(unsigned ring) noexcept {
  const std::lock_guard<std::mutex> hold(mutex_);
  rings_[ring].ready = false;
  if (auto updated = update(ring); !updated) log_.error("{}", updated.error().message);
  rings_[ring].served = false;
}

Status VhostNet::use_pairs(unsigned count) {
  const std::lock_guard<std::mutex> hold(mutex_);
  pairs_in_use_ = count;
  for (unsigned ring = 0; ring < rings_.size(); ++ring) {
    if (auto updated = update(ring); !updated) return updated;
  }
  return {};
}

Status VhostNet::set_link(bool up) {
  const std::lock_guard<std::mutex> hold(mutex_);
  link_ = up;
  for (unsigned ring = 0; ring < rings_.size(); ++ring) {
    if (auto updated = update(ring); !updated) return updated;
  }
  return {};
}

}  // namespace bellhop
