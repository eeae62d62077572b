#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_roles.h"
#include "base/property_list.h"
#include "base/result.h"
#include "config/machine_config.h"

namespace bellhop {

/// The options of `bellhop run` as they were written, on the command line or in a file.
struct MachineOptions {
  std::optional<OptionText> kernel;
  std::optional<OptionText> initrd;
  std::optional<OptionText> cmdline;
  std::optional<OptionText> cpus;
  std::optional<OptionText> vcpu_affinity;
  std::optional<OptionText> transport;
  std::optional<OptionText> optimize;
  std::optional<OptionText> halt_poll;
  std::optional<OptionText> max_ioeventfds;
  std::optional<OptionText> reserve_ioeventfds;
  std::optional<OptionText> stats;
  std::optional<OptionText> explain;
  std::optional<OptionText> serial;
  std::optional<OptionText> on_reset;
  std::optional<OptionText> stop_timeout;
  std::optional<OptionText> api_socket;
  std::optional<OptionText> event_monitor;
  std::optional<OptionText> seccomp;
  std::optional<OptionText> landlock;
  std::optional<OptionText> log_format;
  PropertyList memory;
  std::vector<PropertyList> iothreads;
  std::vector<PropertyList> landlock_rules;
  std::vector<PropertyList> rate_groups;
  /// Of every kind of device, as in MachineConfig: `disks`, ...
#define BELLHOP_DEVICE(Config, list) std::vector<PropertyList> list;
#include "devices/devices.def"
#undef BELLHOP_DEVICE

  /// `later` wins: over scalars, and key by key over the same device (DeviceOption::same_by) and
  /// the I/O thread of the same `name`. Others are added, and so are rules.
  void merge(const MachineOptions& later);
};

/// An option of one value, and where it is.
struct ScalarOption {
  std::string_view name;  ///< "--kernel"; without the dashes in a file
  std::optional<OptionText> MachineOptions::*value;
};
std::span<const ScalarOption> scalar_options();

/// A kind of device, and where its options are.
struct DeviceKind {
  const DeviceOption& option;
  std::vector<PropertyList> MachineOptions::*list;
};
/// All of them, in the order of devices.def.
std::span<const DeviceKind> device_kinds();

/// Reads a TOML file that has the names of the command line:
///
///     kernel = "guest.elf"
///     cpus = 2
///     memory = { size = "512M", hugepages = true }
///     [[iothread]]
///     name = "io0"
///     cpus = "1"
///     [[disk]]
///     path = "disk.img"
///     cache = "none"
///
/// true and false are for what is switched on and off, such as `hugepages`; `rng = true` is an rng
/// with nothing said about it, `rng = false` is none. Every value knows the line that it came from.
/// Relative paths are meant from the file's folder.
/// Errors: no such file, no regular one, over 1 MiB; with FILE:LINE: not TOML, an unknown name, a
/// value of another type.
Result<MachineOptions> read_options_file(const std::string& path);
/// The same from text; `name` is what errors call it.
Result<MachineOptions> parse_options_text(std::string_view text, const std::string& name);

/// Has the relative paths among the values of a device's keys (kPathKeys) begin at `folder`.
void place_paths(PropertyList& list, const std::filesystem::path& folder);

Result<IoThreadConfig> parse_iothread(const PropertyList& properties);

/// What the devices, the kernel and the rules of a configuration need of the host. The command adds
/// what it has of its own.
HostNeeds host_needs(const MachineConfig& config);

/// Checks everything that can be checked without a hypervisor, fills in defaults (ids, one I/O
/// thread, devices without an I/O thread spread over all of them) and returns the machine's
/// configuration. Errors name the option, and FILE:LINE where a file has it, and say what would be
/// right.
///
/// `roles` has what the command does with other files (base/file_roles.h): no option may use one of
/// them, or one of another option, if either writes it.
Result<MachineConfig> make_machine_config(const MachineOptions& options, FileRoles roles = {});

/// What holds of a program that has no machine yet: --seccomp, --stop-timeout. Errors: what is
/// wrong with them; an option that says something of a machine, with what is missing for it.
Result<MachineConfig> make_empty_config(const MachineOptions& options);

/// I/O threads and devices alone, with the same checks: for devices whose driver is in no machine
/// of ours. What the options say of a machine is not looked at.
Result<MachineConfig> make_device_config(const MachineOptions& options, FileRoles roles = {});

}  // namespace bellhop
