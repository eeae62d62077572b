#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/cpu_list.h"
#include "base/file_roles.h"
#include "base/host_needs.h"
#include "base/property_list.h"
#include "base/result.h"
#include "config/rate_group_config.h"
#include "devices/devices.h"
#include "event/io_thread.h"
#include "memory/guest_memory.h"
#include "sandbox/landlock_mode.h"
#include "sandbox/seccomp_mode.h"

namespace bellhop {

enum class TransportKind : std::uint8_t { kPci, kPciTransitional, kMmio };
/// As --transport takes it.
constexpr const char* to_string(TransportKind kind) noexcept {
  switch (kind) {
    case TransportKind::kPci:
      return "pci";
    case TransportKind::kPciTransitional:
      return "pci-transitional";
    case TransportKind::kMmio:
      break;
  }
  return "mmio";
}
/// What follows when the guest asks for a reset, or a processor's triple fault does.
enum class OnReset : std::uint8_t { kExit, kRestart };

/// Where options of one value were written, for what is found wrong with them later.
class OptionPlaces {
 public:
  /// `option` is "--cpus".
  void set(std::string_view option, const std::string& place) {
    if (!place.empty()) places_.insert_or_assign(std::string(option), place);
  }
  /// Empty: no file has it.
  [[nodiscard]] std::string_view of(std::string_view option) const {
    const auto found = places_.find(option);
    return found == places_.end() ? std::string_view() : std::string_view(found->second);
  }
  /// As messages begin with it: see named_at().
  [[nodiscard]] std::string named(std::string_view option) const {
    return named_at(of(option), option);
  }

 private:
  std::map<std::string, std::string, std::less<>> places_;
};

/// What a machine is made of. Values, as parsed; Machine::create() checks what needs the host.
struct MachineConfig {
  OptionPlaces places;
  std::string kernel;
  std::string initrd;
  std::string cmdline;
  unsigned cpus = 1;
  /// How long a halted vCPU is waited for before its thread sleeps; nothing: as the host has it.
  std::optional<std::chrono::nanoseconds> halt_poll;
  std::vector<CpuList> vcpu_affinity;  ///< vCPU i runs on [i]; missing or empty: anywhere
  std::uint64_t memory = std::uint64_t{512} << 20;  ///< bytes
  MemoryBacking backing = MemoryBacking::kPrivate;
  TransportKind transport = TransportKind::kPci;
  Optimize optimize = Optimize::kThroughput;  ///< of adaptive devices that do not say it
  std::vector<IoThreadConfig> iothreads;      ///< at least one is made
  std::vector<RateGroupConfig> rate_groups;
  /// One list for each kind of device: `disks`, ...
#define BELLHOP_DEVICE(Config, list) std::vector<Config> list;
#include "devices/devices.def"
#undef BELLHOP_DEVICE
  OnReset on_reset = OnReset::kExit;
  SeccompMode seccomp = kDefaultSeccomp;
  LandlockMode landlock = kDefaultLandlock;
  std::vector<HostPath> landlock_rules;  ///< what may be reached besides what the options name
  /// How long a guest that is asked to switch itself off may take; 0: it is not asked.
  std::chrono::nanoseconds stop_timeout = std::chrono::seconds(90);
  FileRoles files;                   ///< what the options, and the command, use
  unsigned max_ioeventfds = 0;       ///< 0: as many as the host allows
  unsigned reserved_ioeventfds = 0;  ///< kept free for a vhost user
};

}  // namespace bellhop
