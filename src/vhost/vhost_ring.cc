#include "vhost/vhost_ring.h"

namespace bellhop {

Status VhostRing::start(const OffloadedRing& ring) {
  handed_ = ring;
  Status started = device_.set_up(index_, ring);
  if (started) started = owner_.ring_ready(number_);
  if (!started) (void)device_.take_down(index_);
  return started;
}

std::uint32_t VhostRing::stop() noexcept {
  owner_.ring_leaves(number_);
  const auto base = device_.take_down(index_);
  if (base) return *base;
  log_.error("{}", base.error().message);
  // It gives back all that it takes before it lets go: that much was given back. Of a packed ring
  // only the peer knew.
  return handed_.packed ? handed_.base : used_index(handed_);
}

void VhostRing::call_changed(const EventFd* call) noexcept {
  if (auto set = device_.set_call(index_, call); !set) log_.error("{}", set.error().message);
}

}  // namespace bellhop
