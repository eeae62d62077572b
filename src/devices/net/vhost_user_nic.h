#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/host_needs.h"
#include "base/property_list.h"
#include "base/result.h"

namespace bellhop {

/// `vhost-user=SOCKET`: another process (a software switch) has the wire and serves the NIC's
/// queues.
struct VhostUserNic {
  std::string socket;
  std::uint16_t mtu = 0;  ///< told to the guest, and to a back end that takes it; 0: not told

  unsigned pairs = 1;

  static constexpr bool kKernelMayServe = false;
  static constexpr std::string_view kChoice = "vhost-user=SOCKET";
  static constexpr std::string_view kKeys[] = {"vhost-user", "queues", "mtu"};
  static constexpr std::string_view kHelp = R"(
  vhost-user=SOCKET        or another process that serves the queues (a vhost-user back end); mtu=N
                           is what the guest is told; queues, id, mac, queue-size go with it)";
  static unsigned chosen(PropertyReader& reader) { return reader.has("vhost-user") ? 1 : 0; }
  static VhostUserNic parse(PropertyReader& reader);
  /// A back end has one front end.
  [[nodiscard]] Status check_together(std::string_view option, const VhostUserNic& other) const;
  void add_needs(HostNeeds& needs) const { needs.add(socket, HostUse::kConnects); }
};

}  // namespace bellhop
