#pragma once

#include <string>
#include <string_view>

#include "base/file_roles.h"
#include "base/host_needs.h"
#include "base/property_list.h"
#include "base/result.h"

namespace bellhop {

/// `vhost-user=SOCKET`: another process has the medium and serves the disk's queues.
struct VhostUserDisk {
  std::string socket;

  static constexpr std::string_view kChoice = "vhost-user=SOCKET";
  static constexpr std::string_view kKeys[] = {"vhost-user"};
  static constexpr std::string_view kHelp = R"(
  vhost-user=SOCKET        or another process that serves the queues (a vhost-user back end);
                           only id, queues and queue-size go with it)";
  static unsigned chosen(PropertyReader& reader) { return reader.has("vhost-user") ? 1 : 0; }
  static VhostUserDisk parse(PropertyReader& reader);
  /// A back end has one front end.
  [[nodiscard]] Status check_together(std::string_view option, const VhostUserDisk& other) const;
  [[nodiscard]] Status check(std::string_view /*option*/, FileRoles& /*roles*/) const { return {}; }
  void add_needs(HostNeeds& needs) const { needs.add(socket, HostUse::kConnects); }
};

}  // namespace bellhop
