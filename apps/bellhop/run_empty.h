#pragma once

#include "apps/bellhop/commands.h"
#include "base/file_roles.h"
#include "config/machine_options.h"

namespace bellhop {

/// `bellhop run --api-socket SOCKET` alone: a program without a machine, which clients of its API
/// make, start and take away. Ends when they say so, by a signal, or with a guest that switches
/// itself off. Returns the exit status. `roles`: what the command does with files; `enter`:
/// puts it into a jail, or null.
int run_empty(const MachineOptions& options, FileRoles roles, bool interpreted_allowed,
              const EnterJail& enter);

}  // namespace bellhop
