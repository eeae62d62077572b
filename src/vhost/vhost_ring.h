#pragma once

#include <cstdint>

#include "base/log_limiter.h"
#include "base/result.h"
#include "vhost/vhost_peer.h"
#include "virtio/queue/queue_back_end.h"

namespace bellhop {

/// Told when the peer knows a ring, and before it is to forget it: has it served, or served no
/// more.
class VhostRingOwner {
 public:
  /// Errors: the peer refuses; the ring counts as not ready then.
  virtual Status ring_ready(unsigned ring) = 0;
  /// Returns when the peer does not touch the ring any more.
  virtual void ring_leaves(unsigned ring) noexcept = 0;

 protected:
  ~VhostRingOwner() = default;
};

/// One ring of a vhost peer, in a queue's place.
class VhostRing final : public QueueBackEnd {
 public:
  /// `index` is the peer's number. All outlive the ring.
  VhostRing(VhostPeer& device, unsigned index, VhostRingOwner& owner, unsigned number) noexcept
      : device_(device), index_(index), owner_(owner), number_(number) {}

  Status start(const OffloadedRing& ring) override;
  std::uint32_t stop() noexcept override;
  void call_changed(const EventFd* call) noexcept override;

  /// Has the peer look at the ring, kicked or not. While started.
  void kick() const noexcept { handed_.kick->signal(); }

 private:
  VhostPeer& device_;
  unsigned index_;
  VhostRingOwner& owner_;
  unsigned number_;  ///< the owner's
  OffloadedRing handed_;
  log::Limiter log_;  ///< a driver may start and stop it without end
};

}  // namespace bellhop
