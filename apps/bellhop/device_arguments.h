#pragma once

#include <CLI/App.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/property_list.h"
#include "base/result.h"
#include "config/machine_options.h"

namespace bellhop {

/// What a command line says of devices and I/O threads, as CLI11 hands it over. Outlives the
/// command to which its options are added.
struct DeviceArguments {
  DeviceArguments() : devices(device_kinds().size()) {}

  std::vector<std::vector<std::string>> devices;  ///< of each kind: as device_kinds()
  std::vector<std::string> iothreads;
  std::vector<std::string> landlock_rules;
  std::vector<std::string> rate_groups;
};

/// Adds the option of device_kinds()[kind].
void add_device_option(CLI::App& command, DeviceArguments& arguments, std::size_t kind);
/// What --help says of that option's keys.
std::string device_help(std::size_t kind);
/// --landlock and --landlock-rules.
void add_landlock_options(CLI::App& command, DeviceArguments& arguments,
                          std::optional<OptionText>& landlock);
void add_iothread_option(CLI::App& command, DeviceArguments& arguments);
void add_rate_group_option(CLI::App& command, DeviceArguments& arguments);
inline constexpr std::string_view kRateGroupHelp = R"(
Keys of --rate-limit-group, rates that disks and NICs share which name it:
  id=NAME                  by which they name it
  iops=N  bps=SIZE         at most so many requests and frames, and bytes, in a second, all together
  burst=TIME               how far they may be ahead of that after a rest (10ms)
)";
inline constexpr std::string_view kIothreadHelp =
    "Keys of --iothread: its name, cpus=LIST, loop=io_uring|epoll,\n"
    "poll-max=TIME (64us: how long it looks for work before it sleeps; 0: it sleeps at once),\n"
    "poll-idle=TIME (10ms: how long it looks for work after the last request of a device with\n"
    "notify=poll)\n"
    "In a value, write a comma twice.\n";

/// Adds what was given to `options`. Errors: what is no list of keys and values, by its option.
Status take_device_arguments(const DeviceArguments& arguments, MachineOptions& options);
/// One option's keys; none of an option that is given without a value.
Result<PropertyList> parse_option(std::string_view option, std::string_view text,
                                  std::string_view bare_key);

}  // namespace bellhop
