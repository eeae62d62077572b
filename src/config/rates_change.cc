#include "config/rates_change.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "devices/device_option.h"

namespace bellhop {

namespace {

Result<Rates> change(Rates& rates, std::string_view unit, std::string_view id,
                     const PropertyList& properties) {
  Rates changed = rates;
  PropertyReader reader(std::string(id), properties);
  read_rates(reader, unit, changed, 0);
  if (auto status = reader.finish(); !status) return fail(status.error().message, EINVAL);
  rates = changed;
  return changed;
}

}  // namespace

Result<Rates> change_rates(MachineConfig& machine, std::string_view id,
                           const PropertyList& properties) {
  const auto others = [id](const char* who) {
    return fail(fmt::format("{}: its rates are for {} to keep", id, who), ENOTSUP);
  };
  const auto of_group = [id](const std::string& group) {
    return fail(fmt::format("{}: its rates are those of the group '{}'", id, group), EINVAL);
  };
  const auto group = std::ranges::find(machine.rate_groups, id, &RateGroupConfig::id);
  if (group != machine.rate_groups.end()) return change(group->rates, "iops", id, properties);
  const auto disk = std::ranges::find(machine.disks, id, &DiskConfig::id);
  if (disk != machine.disks.end()) {
    if (disk->back_end() != nullptr) return others("the back end (vhost-user)");
    if (!disk->rate_group.empty()) return of_group(disk->rate_group);
    return change(disk->rates, "iops", id, properties);
  }
  const auto nic = std::ranges::find(machine.nics, id, &NicConfig::id);
  if (nic == machine.nics.end()) {
    return fail(fmt::format("there is no disk, NIC or group of rates '{}'", id), ENOENT);
  }
  if (nic->back_end() != nullptr) return others("the back end (vhost-user)");
  if (nic->vhost != Vhost::kOff) return others("the kernel (vhost)");
  if (!nic->rate_group.empty()) return of_group(nic->rate_group);
  return change(nic->rates, "pps", id, properties);
}

}  // namespace bellhop
