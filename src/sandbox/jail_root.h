#pragma once

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/host_needs.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop::sandbox {

/// A protection that this host does not give, and why. Errors: it must.
using Lack = std::function<Status(std::string_view what, int error)>;

/// A part of the host's files in the jail.
struct JailPart {
  std::string path;  ///< absolute, without "." and ".."; the same inside
  bool folder = false;
  bool writable = false;
  bool device = false;
  bool program = false;  ///< may be run
  UniqueFd source = {};  ///< what is there outside
};

/// Makes the files that are to be written and are not there, `owner`'s if there is one: so a file
/// alone is in the jail, and not its folder. Returns those that it has made.
std::vector<std::string> make_outputs(const HostNeeds& needs, std::optional<uid_t> owner);

/// What `needs` comes to: files as they are, for sockets their folders. One in a folder that is
/// there as it needs it is left out. So is what is not there: whoever opens it tells. `lack` hears
/// of folders with other files in them than `needs` has.
Result<std::vector<JailPart>> jail_parts(const HostNeeds& needs, const Lack& lack);

/// Has the calling process see nothing but `parts`, its own processes in /proc, and its working
/// directory without what is in it, all of it at the paths that it had. To be called in a mount
/// namespace of its own, with CAP_SYS_ADMIN there. `device_owner`: devices are made for that user
/// where the host allows it. `own_processes`: it has a PID namespace of its own. Errors: the host
/// refuses it.
Status change_root(std::vector<JailPart> parts, std::optional<uid_t> device_owner,
                   bool own_processes, const Lack& lack);

}  // namespace bellhop::sandbox
