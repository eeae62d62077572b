#pragma once

#include <memory>
#include <string_view>

#include "base/result.h"
#include "net/net_backend.h"
#include "net/net_source.h"

namespace bellhop {

/// `tcp:[hostaddr]:hostport-[guestaddr]:guestport`, or `udp:...`, as QEMU writes it. An IPv6
/// address stands in brackets. Errors say what would be right; a guest address is one of them,
/// since the guest has no choice of several.
Result<PortForward> parse_port_forward(std::string_view text);

/// User-mode networking: starts passt, which speaks Ethernet with the guest and has ordinary
/// sockets on the other side. It needs no rights, gives the guest an address by DHCP, and ends when
/// we do, however that comes about.
///
/// Errors: it is not installed, it says why it does not start, it does not begin to serve, a port
/// is taken already, by one version of IP at least.
Result<std::shared_ptr<NetBackend>> start_passt(const PasstSource& source);

}  // namespace bellhop
