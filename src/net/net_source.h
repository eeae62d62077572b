#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/host_needs.h"
#include "base/property_list.h"
#include "base/result.h"
#include "net/net_backend.h"

namespace bellhop {

/// `tap=NAME` or `fd=N[:N...]`: a network interface of the host.
struct TapSource {
  std::string name;       ///< of the interface; made for as long as we live if it is not there
  std::vector<int> fds;   ///< instead of a name: open taps, one for each pair; they become ours
  bool borrowed = false;  ///< they stay whose they are: open() makes its own of them
  unsigned pairs = 1;
  std::uint16_t mtu = 0;  ///< bytes to set the interface to; 0: leave it

  static constexpr unsigned kMaxPairs = 64;
  static constexpr bool kKernelMayServe = true;  ///< vhost-net can carry its frames
  static constexpr std::string_view kChoice = "tap=NAME or fd=N";
  static constexpr std::string_view kKeys[] = {"tap", "fd", "queues", "mtu"};
  static constexpr std::string_view kHelp = R"(
  tap=NAME or fd=N[:N...]  a tap of the host, made if it is not there; or open ones, one a pair
    queues=N               pairs of queues (1)
    mtu=N                  set for the tap, too; by default the tap's own)";
  static unsigned chosen(PropertyReader& reader) {
    return unsigned{reader.has("tap")} + unsigned{reader.has("fd")};
  }
  static TapSource parse(PropertyReader& reader);
  /// A tap has one user.
  [[nodiscard]] Status check_together(std::string_view option, const TapSource& other) const;
  void add_needs(HostNeeds& needs) const;
  /// See open_tap().
  [[nodiscard]] Result<std::shared_ptr<NetBackend>> open() const;
};

/// A port of the host's behind which the guest serves one of its own.
struct PortForward {
  enum class Protocol : std::uint8_t { kTcp, kUdp };
  Protocol protocol = Protocol::kTcp;
  std::string host_address;  ///< empty: all of them
  std::uint16_t host_port = 0;
  std::uint16_t guest_port = 0;

  friend bool operator==(const PortForward&, const PortForward&) = default;
};

/// `user`: user-mode networking by passt.
struct PasstSource {
  std::vector<PortForward> forwards;
  std::uint16_t mtu = 0;          ///< that the guest is told by DHCP; 0: as large as can be
  std::string program = "passt";  ///< looked for in PATH
  /// How long it may take to read from its socket first.
  std::chrono::milliseconds patience{10000};

  static constexpr unsigned pairs = 1;
  static constexpr bool kKernelMayServe = false;
  static constexpr std::string_view kChoice = "user";
  static constexpr std::string_view kKeys[] = {"user", "hostfwd", "mtu"};
  static constexpr std::string_view kHelp = R"(
  user                     or a network without rights, by passt; mtu=N is what the guest is told
    hostfwd=tcp:[ADDRESS]:PORT-:GUESTPORT   ... ports of the host's (or udp:); may be given again)";
  static unsigned chosen(PropertyReader& reader);
  static PasstSource parse(PropertyReader& reader);
  /// Two NICs cannot have the same port of the host.
  [[nodiscard]] Status check_together(std::string_view option, const PasstSource& other) const;
  void add_needs(HostNeeds& needs) const { needs.network = needs.programs = true; }
  /// See start_passt().
  [[nodiscard]] Result<std::shared_ptr<NetBackend>> open() const;
};

}  // namespace bellhop
