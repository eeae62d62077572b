#include "vhost/vhost_ring.h"

#include <atomic>

#include "base/log.h"
#include "virtio/abi/ring.h"

namespace bellhop {

std::uint16_t VhostRing::used_index(const OffloadedRing& ring) noexcept {
  auto* const index = reinterpret_cast<std::uint16_t*>(ring.used + virtio::kUsedIdxOffset);
  return std::atomic_ref<std::uint16_t>(*index).load(std::memory_order_acquire);
}

Status VhostRing::start(const OffloadedRing& ring) {
  lent_ = ring;
  Status started = device_.set_up(index_, ring);
  if (started) started = owner_.ring_ready(number_);
  if (!started) (void)device_.take_down(index_);
  return started;
}

std::uint16_t VhostRing::stop() noexcept {
  owner_.ring_leaves(number_);
  const auto base = device_.take_down(index_);
  if (base) return *base;
  log::error("{}", base.error().message);
  return used_index(lent_);
}

void VhostRing::call_changed(const EventFd* call) noexcept {
  if (auto set = device_.set_call(index_, call); !set) log::error("{}", set.error().message);
}

}  // namespace bellhop
