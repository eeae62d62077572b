#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file_roles.h"
#include "base/property_list.h"
#include "base/result.h"
#include "config/machine_config.h"

namespace bellhop {

/// The options of `bellhop run` as they were written, on the command line or in a file.
struct MachineOptions {
  std::optional<std::string> kernel;
  std::optional<std::string> initrd;
  std::optional<std::string> cmdline;
  std::optional<std::string> cpus;
  std::optional<std::string> vcpu_affinity;
  std::optional<std::string> transport;
  std::optional<std::string> max_ioeventfds;
  std::optional<std::string> reserve_ioeventfds;
  std::optional<std::string> stats;
  std::optional<std::string> serial;
  std::optional<std::string> on_reset;
  PropertyList memory;
  std::vector<PropertyList> iothreads;
  /// Of every kind of device, as in MachineConfig: `disks`, ...
#define BELLHOP_DEVICE(Config, list) std::vector<PropertyList> list;
#include "devices/devices.def"
#undef BELLHOP_DEVICE

  /// `later` wins: over scalars, and key by key over the same device (DeviceOption::same_by) and
  /// the I/O thread of the same `name`. Others are added.
  void merge(const MachineOptions& later);
};

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
/// Errors: no such file, not TOML (with its line), an unknown name, a value of another type.
Result<MachineOptions> read_options_file(const std::string& path);
/// The same from text; `name` is what errors call it.
Result<MachineOptions> parse_options_text(std::string_view text, const std::string& name);

Result<IoThreadConfig> parse_iothread(const PropertyList& properties);

/// Checks everything that can be checked without a hypervisor, fills in defaults (ids, one I/O
/// thread, devices without an I/O thread spread over all of them) and returns the machine's
/// configuration. Errors name the option and say what would be right.
///
/// `roles` has what the command does with other files (base/file_roles.h): no option may use one of
/// them, or one of another option, if either writes it.
Result<MachineConfig> make_machine_config(const MachineOptions& options, FileRoles roles = {});

}  // namespace bellhop
