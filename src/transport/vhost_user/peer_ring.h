#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/unique_fd.h"
#include "transport/vhost_user/peer_socket.h"
#include "vhost_user/messages.h"
#include "virtio/ring/ring_state.h"

namespace bellhop {

/// How a ring's driver is called.
struct PeerCall {
  std::unique_ptr<EventFd> event;  ///< null: it is not
  // Where there is no eventfd of the front end's, `event` is one of our own, and whoever reads the
  // connection hands on what is signalled there.
  std::optional<PeerSocket> socket = {};  ///< to a socket
  bool in_band = false;                   ///< in messages, VRING_CALL

  [[nodiscard]] bool relayed() const noexcept { return socket || in_band; }
};

/// What a front end has told of one ring. Values, not believed yet.
struct PeerRing {
  std::uint16_t size = 0;                        ///< SET_VRING_NUM; 0: not told
  std::optional<vhost_user::VringAddresses> at;  ///< SET_VRING_ADDR
  /// SET_VRING_BASE, until the ring starts: what it means depends on the ring's layout, which may
  /// be told later.
  std::optional<std::uint32_t> base;
  /// Where it stands while it does not run. The used index of a split ring is the ring's own.
  RingState rest;
  /// It has been stopped on this connection with nothing in flight. Before that, what is noted of
  /// requests in flight counts for more than its base: a front end that has lost its back end knows
  /// an old one.
  bool settled = false;
  std::optional<bool> enable;  ///< SET_VRING_ENABLE
  /// It was started, and not stopped since. The queue itself may rest for a moment all the same,
  /// while the way in which it is notified changes.
  bool served = false;
  // Where they are they stay, as long as they are used.
  std::unique_ptr<EventFd> kick;  ///< the front end's; our own where it kicks by VRING_KICK
  PeerCall call;
  std::unique_ptr<EventFd> err;
};

}  // namespace bellhop
