#pragma once

#include "control/api/api_body.h"
#include "control/command.h"

namespace bellhop::control {

// Devices as the API has them, as the options of `bellhop run` that mean the same. Unknown fields
// are ignored; what the program cannot do for a field that matters is refused.

Command read_add_disk(Body& body);
Command read_add_net(Body& body);
Command read_add_fs(Body& body);
Command read_add_vsock(Body& body);
/// A group of rates, as if it was a device: for vm.create.
Command read_rate_group(Body& body);
/// Ours: {"device": "rng", "options": "src=/dev/urandom"}, as the command line has it.
Command read_add(Body& body);
Command read_remove_device(Body& body);

}  // namespace bellhop::control
