#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/unique_fd.h"
#include "vhost_user/messages.h"
#include "virtio/ring/ring_state.h"

namespace bellhop {

/// What a front end has told of one ring. Values, not believed yet.
struct PeerRing {
  std::uint16_t size = 0;                        ///< SET_VRING_NUM; 0: not told
  std::optional<vhost_user::VringAddresses> at;  ///< SET_VRING_ADDR
  /// Where it stands while it does not run: SET_VRING_BASE, or where it was stopped. Its used index
  /// is the ring's own.
  RingState rest;
  std::optional<bool> enable;  ///< SET_VRING_ENABLE
  // Where they are they stay, as long as they are used.
  std::unique_ptr<EventFd> kick;
  std::unique_ptr<EventFd> call;
  std::unique_ptr<EventFd> err;
};

}  // namespace bellhop
