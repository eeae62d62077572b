#include "config/device_addition.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "config/device_checks.h"

namespace bellhop {

namespace {

template <class Config>
std::string option_of() {
  return fmt::format("--{}", Config::kOption.name);
}

std::size_t count_devices(const MachineConfig& machine) {
  std::size_t count = 0;
#define BELLHOP_DEVICE(Config, list) count += machine.list.size();
#include "devices/devices.def"
#undef BELLHOP_DEVICE
  return count;
}

std::string free_id(std::string_view name, const MachineConfig& machine) {
  for (unsigned number = 0;; ++number) {
    std::string id = fmt::format("{}{}", name, number);
    if (!has_device(machine, id)) return id;
  }
}

template <class Config>
Result<Config> parse_one(const PropertyList& properties) {
  if constexpr (requires { Config::parse(properties); }) {
    return Config::parse(properties);
  } else {
    return Config::parse(std::span(&properties, 1));
  }
}

/// Whether a machine has all of its devices of this kind by one device.
template <class Config>
constexpr bool only_one() {
  return Config::kOption.same_by.empty() || !requires(const PropertyList& one) {
    Config::parse(one);
  };
}

template <class Config>
Result<DeviceAddition> add(const PropertyList& properties, const MachineConfig& machine,
                           std::vector<Config> MachineConfig::*list) {
  if (only_one<Config>() && !(machine.*list).empty()) {
    return fail(fmt::format("{}: a machine has one at most, and this one has it: {}",
                            option_of<Config>(), (machine.*list).front().id),
                EINVAL);
  }
  auto device = parse_one<Config>(properties);
  if (!device) return forward(device);
  if (!device->optimize) device->optimize = machine.optimize;
  if (device->id.empty()) device->id = free_id(Config::kOption.name, machine);
  const bool is_group = std::ranges::find(machine.rate_groups, device->id, &RateGroupConfig::id) !=
                        machine.rate_groups.end();
  if (is_group || has_device(machine, device->id)) return fail(given_to_two(*device), EINVAL);
  if (auto checked = check_rate_group(*device, machine.rate_groups); !checked) {
    return forward(checked);
  }
  DeviceAddition addition{.id = device->id, .alone = {}, .machine = machine};
  const std::vector<Config>& others = machine.*list;
  if (auto checked =
          check_device(*device, std::span(others), machine.memory, addition.machine.files);
      !checked) {
    return forward(checked);
  }
  if constexpr (requires { device->shares_memory(); }) {
    if (device->shares_memory() && machine.backing == MemoryBacking::kPrivate) {
      return fail(fmt::format("{}: another process maps the guest's memory: the machine needs "
                              "--memory SIZE,shared=on from its start",
                              option_of<Config>()),
                  EINVAL);
    }
  }
  if constexpr (requires { device->borrow_fds(); }) device->borrow_fds();
  if constexpr (requires { device->check_added(); }) {
    if (auto checked = device->check_added(); !checked) return forward(checked);
  }
  addition.alone.iothreads = machine.iothreads;
  if (machine.iothreads.empty()) addition.alone.iothreads.emplace_back();  // as a machine does
  std::size_t next = count_devices(machine);
  if (auto given = give_iothreads(*device, addition.alone.iothreads, next); !given) {
    return forward(given);
  }
  (addition.alone.*list).push_back(*device);
  (addition.machine.*list).push_back(std::move(*device));
  return addition;
}

template <class Config>
bool remove(MachineConfig& machine, std::vector<Config> MachineConfig::*list, std::string_view id) {
  if (std::erase_if(machine.*list, [id](const Config& one) { return one.id == id; }) == 0) {
    return false;
  }
  // As check_files() of its kind calls it.
  machine.files.forget(fmt::format("{} {}", option_of<Config>(), id));
  if (only_one<Config>()) machine.files.forget(option_of<Config>());
  return true;
}

}  // namespace

Result<DeviceAddition> make_device_addition(std::string_view kind, const PropertyList& properties,
                                            const MachineConfig& machine) {
  std::string kinds;
#define BELLHOP_DEVICE(Config, list)                               \
  if (kind == Config::kOption.name) {                              \
    return add<Config>(properties, machine, &MachineConfig::list); \
  }                                                                \
  kinds += (kinds.empty() ? "" : ", ") + std::string(Config::kOption.name);
#include "devices/devices.def"
#undef BELLHOP_DEVICE
  return fail(fmt::format("there is no kind of device '{}'; it must be one of {}", kind, kinds),
              EINVAL);
}

bool remove_device(MachineConfig& machine, std::string_view id) {
#define BELLHOP_DEVICE(Config, list) \
  if (remove(machine, &MachineConfig::list, id)) return true;
#include "devices/devices.def"
#undef BELLHOP_DEVICE
  return false;
}

bool has_device(const MachineConfig& machine, std::string_view id) {
#define BELLHOP_DEVICE(Config, list) \
  if (std::ranges::find(machine.list, id, &Config::id) != machine.list.end()) return true;
#include "devices/devices.def"
#undef BELLHOP_DEVICE
  return false;
}

}  // namespace bellhop
