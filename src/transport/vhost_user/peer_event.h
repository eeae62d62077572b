#pragma once

#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop {

/// An eventfd that a vhost-user peer has sent: no call of the EventFd waits for what the peer does
/// with its end. Errors: the descriptor is no eventfd (the peer's fault, code EPROTO);
/// EventFd::adopt().
Result<EventFd> take_peer_event(UniqueFd fd);

}  // namespace bellhop
