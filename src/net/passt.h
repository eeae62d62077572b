#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "net/net_backend.h"

namespace bellhop {

/// A port of the host's behind which the guest serves one of its own.
struct PortForward {
  enum class Protocol : std::uint8_t { kTcp, kUdp };
  Protocol protocol = Protocol::kTcp;
  std::string host_address;  ///< empty: all of them
  std::uint16_t host_port = 0;
  std::uint16_t guest_port = 0;

  friend bool operator==(const PortForward&, const PortForward&) = default;
};

/// `tcp:[hostaddr]:hostport-[guestaddr]:guestport`, or `udp:...`, as QEMU writes it. An IPv6
/// address stands in brackets. Errors say what would be right; a guest address is one of them,
/// since the guest has no choice of several.
Result<PortForward> parse_port_forward(std::string_view text);

/// `--net user`
struct PasstConfig {
  std::vector<PortForward> forwards;
  std::uint16_t mtu = 0;          ///< that the guest is told by DHCP; 0: as large as can be
  std::string program = "passt";  ///< looked for in PATH
  /// How long it may take to read from its socket first.
  std::chrono::milliseconds patience{10000};
};

/// User-mode networking: starts passt, which speaks Ethernet with the guest and has ordinary
/// sockets on the other side. It needs no rights, gives the guest an address by DHCP, and ends when
/// we do, however that comes about.
///
/// Errors: it is not installed, it says why it does not start, it does not begin to serve, a port
/// is taken already, by one version of IP at least.
Result<std::shared_ptr<NetBackend>> start_passt(const PasstConfig& config);

}  // namespace bellhop
