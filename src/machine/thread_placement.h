#pragma once

#include <span>
#include <string>

#include "base/cpu_list.h"

namespace bellhop {

/// Where one of a machine's threads may run.
struct ThreadPlacement {
  std::string name;    ///< in the kernel
  CpuList cpus;        ///< of the host
  bool given = false;  ///< by an option or vm.pin; otherwise it was started so
};

/// One line for the operator where threads have inherited less than the host's `host_cpus` CPUs
/// from who started this process (taskset, a cpuset of a container or a unit); empty if none has.
std::string inherited_placement(std::span<const ThreadPlacement> threads, std::size_t host_cpus);

}  // namespace bellhop
