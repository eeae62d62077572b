#include "config/rate_group_config.h"

#include <cctype>

#include "devices/device_option.h"

namespace bellhop {

Result<RateGroupConfig> RateGroupConfig::parse(const PropertyList& properties) {
  RateGroupConfig group;
  group.place = properties.place();
  PropertyReader reader(std::string(kOption), properties);
  reader.text("id", group.id);
  read_rates(reader, "iops", group.rates);
  if (group.id.empty() || group.id.size() > kMaxDeviceId ||
      !std::ranges::all_of(group.id, [](unsigned char c) { return std::isgraph(c) != 0; })) {
    reader.refuse("id", fmt::format("id: '{}' is no name; it must have 1 to {} characters, none of "
                                    "them a space",
                                    group.id, kMaxDeviceId));
  }
  if (!group.rates.limited()) reader.incomplete("iops= or bps= is missing");
  if (auto status = reader.finish(); !status) return forward(status);
  return group;
}

}  // namespace bellhop
