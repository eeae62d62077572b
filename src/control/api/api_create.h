#pragma once

#include "control/api/api_body.h"
#include "control/command.h"

namespace bellhop::control {

/// vm.create: a machine as the API has it, as the options of `bellhop run` that mean the same. A
/// guest that asks for a reset is started again.
Command read_create(Body& body);

}  // namespace bellhop::control
