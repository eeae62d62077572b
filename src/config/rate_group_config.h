#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string>
#include <string_view>

#include "base/property_list.h"
#include "base/result.h"
#include "base/throttle.h"

namespace bellhop {

/// `--rate-limit-group id=NAME,iops=N,bps=SIZE`: rates that several devices keep to together.
struct RateGroupConfig {
  static constexpr std::string_view kOption = "--rate-limit-group";
  /// What --help says of it.
  static constexpr std::string_view kValue = "id=NAME[,iops=N][,bps=SIZE][,burst=TIME]";

  std::string id;
  Rates rates;        ///< units are a disk's requests and a NIC's frames
  std::string place;  ///< of the file that asks for it

  static Result<RateGroupConfig> parse(const PropertyList& properties);
};

/// Whether the group is there that a device names, if it may name any. Errors name the device.
template <class Config>
Status check_rate_group(const Config& device, std::span<const RateGroupConfig> groups) {
  if constexpr (requires { device.rate_group; }) {
    if (device.rate_group.empty() ||
        std::ranges::find(groups, device.rate_group, &RateGroupConfig::id) != groups.end()) {
      return {};
    }
    return fail(named_at(device.place,
                         fmt::format("--{}: rate-limit-group={} is not there; name it "
                                     "by --rate-limit-group id={},iops=...",
                                     Config::kOption.name, device.rate_group, device.rate_group)));
  }
  return {};
}

}  // namespace bellhop
