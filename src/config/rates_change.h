#pragma once

#include <string_view>

#include "base/property_list.h"
#include "base/result.h"
#include "base/throttle.h"
#include "config/machine_config.h"

namespace bellhop {

/// Reads keys of rates as --disk and --net have them (iops= or pps=, bps=, burst=; 0: none), for a
/// device or a group of rates that the machine has. What they do not name stays as it is. The
/// machine's configuration has them then. Errors: none of that id (code ENOENT); a device whose
/// rates are a group's (EINVAL); its queues are served by others, whose rates these would be
/// (ENOTSUP); what is wrong with a key (EINVAL).
Result<Rates> change_rates(MachineConfig& machine, std::string_view id,
                           const PropertyList& properties);

}  // namespace bellhop
