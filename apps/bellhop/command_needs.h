#pragma once

#include <string_view>

#include "base/host_needs.h"
#include "config/machine_options.h"

namespace bellhop {

/// What the options of a command need of the host besides what its machine does: sockets of
/// clients, files that are printed to, passed descriptors.
void add_command_needs(const MachineOptions& options, HostNeeds& needs);
/// A place of a socket: a path, or `prefix` ("fd=") and the number of one that was passed.
void add_socket_needs(std::string_view place, std::string_view prefix, HostNeeds& needs);

}  // namespace bellhop
