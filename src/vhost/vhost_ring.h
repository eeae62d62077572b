#pragma once

#include <cstdint>

#include "base/result.h"
#include "vhost/vhost_device.h"
#include "virtio/queue_carrier.h"

namespace bellhop {

/// Told when the kernel knows a ring, and before it is to forget it: puts the device's back end to
/// it, or takes it away.
class VhostRingOwner {
 public:
  /// Errors: the kernel refuses; the ring counts as not ready then.
  virtual Status ring_ready(unsigned ring) = 0;
  /// Returns when the kernel does not touch the ring any more.
  virtual void ring_leaves(unsigned ring) noexcept = 0;

 protected:
  ~VhostRingOwner() = default;
};

/// One ring of a vhost device, in a queue's place.
class VhostRing final : public QueueCarrier {
 public:
  /// `index` is the kernel's number. All outlive the ring.
  VhostRing(VhostDevice& device, unsigned index, VhostRingOwner& owner, unsigned number) noexcept
      : device_(device), index_(index), owner_(owner), number_(number) {}

  Status start(const CarriedRing& ring) override;
  std::uint16_t stop() noexcept override;
  void call_changed(const EventFd* call) noexcept override;

  /// Has the kernel look at the ring, kicked or not. While started.
  void kick() const noexcept { lent_.kick->signal(); }

 private:
  VhostDevice& device_;
  unsigned index_;
  VhostRingOwner& owner_;
  unsigned number_;  ///< the owner's
  CarriedRing lent_;
};

}  // namespace bellhop
