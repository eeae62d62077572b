#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/host_needs.h"
#include "base/result.h"
#include "sandbox/cgroup.h"

namespace bellhop {

/// setrlimit(2)
struct ResourceLimit {
  int resource = 0;  ///< RLIMIT_NOFILE, ...
  std::uint64_t value = 0;
};

struct JailSettings {
  std::string id;            ///< of the cgroup, and the host's name inside
  std::optional<uid_t> uid;  ///< whom the process becomes: for root alone
  std::optional<gid_t> gid;
  enum class Network : std::uint8_t {
    kAuto,  ///< none, unless the process needs the host's
    kNone,  ///< no interface
    kKeep,  ///< the caller's
    kJoin,  ///< that of `netns`
  };
  Network network = Network::kAuto;
  std::string netns;  ///< a file of a network namespace
  std::vector<sandbox::CgroupValue> cgroup;
  std::string parent_cgroup;  ///< below the root of all; empty: the caller's own
  std::vector<ResourceLimit> limits;
  bool strict = false;  ///< refuse to go without a protection
};

/// Puts the rest of the program into a jail: in a process of its own, with namespaces, a root that
/// has what `needs` names, limits and no rights (docs/security.md). It has no other thread yet.
///
/// Returns nothing in the jail, where the caller goes on; outside, when all in it has ended, the
/// exit status of what went on inside: 128+N for one that was ended by signal N. In between,
/// outside passes signals on, and its end is the jail's.
///
/// What the host does not give is told by one line each, if it is not asked for by name or
/// `strict`. Errors: what was asked for by name, or the host refuses it half way; nothing runs
/// then.
Result<std::optional<int>> enter_jail(const JailSettings& settings, const HostNeeds& needs);

/// "no-file", "fsize" and the like, as Firecracker's jailer calls them; nothing: no such.
std::optional<int> resource_of(std::string_view name) noexcept;

}  // namespace bellhop
