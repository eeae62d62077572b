#pragma once

#include <cstdint>

#include "base/result.h"
#include "virtio/queue/queue_back_end.h"

namespace bellhop {

/// Who serves rings outside of this process and is set up in vhost's way: the kernel, or another
/// process by vhost-user. Control path; any thread, one call at a time for each ring.
class VhostPeer {
 public:
  /// Gives the peer all that it must know of a ring. Errors: it refuses.
  virtual Status set_up(unsigned ring, const OffloadedRing& handed) = 0;
  /// Where the driver is told of a ring; null: nowhere.
  virtual Status set_call(unsigned ring, const EventFd* call) = 0;
  /// Has the peer forget a ring, and says where it stands, as OffloadedRing::base. Errors: it does
  /// not say.
  virtual Result<std::uint32_t> take_down(unsigned ring) = 0;

 protected:
  ~VhostPeer() = default;
};

}  // namespace bellhop
