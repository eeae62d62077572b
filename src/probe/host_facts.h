#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace bellhop {

/// What a measurement says of the host that it was taken on.
struct HostFacts {
  unsigned cpus = 0;  ///< that this process may run on
  std::string cpu_model;
  std::string kernel;
  /// How KVM works here, in words: "VMX with EPT", "paging-based, guest kernel mode interpreted".
  std::string kvm;
  std::optional<std::uint64_t> halt_poll_ns;
  std::string governor;  ///< of CPU frequency; "unknown" where the host does not tell
  std::string bellhop;   ///< version or commit
};

/// Reads /proc and /sys; does not touch KVM. `version` is Bellhop's own.
HostFacts read_host_facts(std::string_view version);
/// How KVM works by what its modules tell, without running a guest.
std::string describe_kvm_modules();

/// The schema's "host".
nlohmann::ordered_json to_json(const HostFacts& facts);

}  // namespace bellhop
