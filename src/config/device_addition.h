#pragma once

#include <string>
#include <string_view>

#include "base/property_list.h"
#include "base/result.h"
#include "config/machine_config.h"

namespace bellhop {

/// A device that a living machine is to get.
struct DeviceAddition {
  std::string id;
  MachineConfig alone;    ///< the machine's I/O threads, and this device
  MachineConfig machine;  ///< what the machine is made of with it
};

/// Reads `properties` as the option of that kind of device ("disk") and checks them as if the
/// machine had been started with it. One without an id gets the lowest number that is free. Errors
/// name the option: no such kind; what is wrong with it; a machine that cannot have it any more.
Result<DeviceAddition> make_device_addition(std::string_view kind, const PropertyList& properties,
                                            const MachineConfig& machine);

/// What the machine is made of without the device. False: it has none of that id.
bool remove_device(MachineConfig& machine, std::string_view id);

/// Whether the machine has a device of that id.
bool has_device(const MachineConfig& machine, std::string_view id);

}  // namespace bellhop
