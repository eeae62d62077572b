#pragma once

#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop::bench {

/// The link of a measurement: a tap device in a network namespace of its own, so that nothing of
/// the host's network is touched and nothing can be left behind. What a frame carries goes to and
/// comes from sockets of the calling process.

/// Moves the calling process, which has one thread, into a fresh network namespace; without the
/// right to do so, into a fresh user namespace first. Errors: the host allows neither.
Status enter_network_namespace();

/// Makes a tap device (frames with a virtio-net header), with the host's address of
/// guest/net_wire.h and `mtu`, and switches it on. It lives as long as its descriptor. Errors: no
/// /dev/net/tun, or no rights.
Result<UniqueFd> make_tap(unsigned mtu);

/// A UDP socket between the host's and the guest's address. Errors: no such address here.
Result<UniqueFd> make_link_socket();

/// Passes a descriptor over a Unix socket, and takes one from it. Errors: the other end is gone, or
/// silent for `milliseconds`.
Status send_descriptor(int socket, int descriptor);
Result<UniqueFd> receive_descriptor(int socket, int milliseconds);

}  // namespace bellhop::bench
