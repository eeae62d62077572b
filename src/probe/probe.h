#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/cpu_list.h"
#include "base/result.h"
#include "hypervisor/hypervisor.h"
#include "probe/floors.h"
#include "probe/host_facts.h"
#include "probe/verdict.h"

namespace bellhop {

/// How many ioeventfds one VM may have at once.
struct IoeventfdLimit {
  unsigned allowed = 0;
  bool at_least = false;  ///< the search ended at its bound, not at the host's
};

/// Something that a host has or lacks, and if it lacks it, why.
struct Feature {
  bool present = false;
  std::string why_not;
};

/// What this host offers to Bellhop.
struct ProbeReport {
  HostFacts host;
  Feature kvm;
  int kvm_api = 0;
  unsigned max_vcpus = 0;
  std::vector<std::pair<std::string, int>> capabilities;  ///< name, KVM_CHECK_EXTENSION's answer
  std::optional<IoeventfdLimit> ioeventfds;
  Feature irqfd;
  Feature io_uring;
  Feature linux_aio;
  Feature vhost_net;
  Feature tun;
  Feature landlock;
  int landlock_abi = 0;  ///< the version of its interface (landlock(7))
  Floors floors;
  std::vector<std::string> notes;  ///< what could not be found out, and why
  Verdict verdict;                 ///< empty where the floors were not measured

  [[nodiscard]] bool kernel_mode_interpreted() const {
    return floors.kernel_mode_ratio.value_or(0) > kInterpretedRatio;
  }
};

struct ProbeOptions {
  std::string version;  ///< Bellhop's own, for the report
  bool floors = true;   ///< measure, too: about a second
  unsigned ioeventfd_bound = 1024;
  CpuList cpus;  ///< to measure on; empty: those that the process may use
};

/// Attaches ioeventfds to a VM of its own until the host refuses or `bound` is reached, and takes
/// them away again. Kernels before 2.6.34 stopped at six. Errors: no VM, or another refusal than
/// "full".
Result<IoeventfdLimit> count_ioeventfds(Hypervisor& hypervisor, unsigned bound);

/// Looks at the host. What is missing is part of the answer, not an error.
ProbeReport probe_host(const ProbeOptions& options);

/// "host" and "floors" of the figures schema, no runs, and the rest under "probe".
nlohmann::ordered_json to_json(const ProbeReport& report);
/// The same as lines for people.
std::string to_text(const ProbeReport& report);

}  // namespace bellhop
