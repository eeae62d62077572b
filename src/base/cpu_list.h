#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace bellhop {

/// A set of host CPUs in ascending order; empty means "wherever the scheduler likes".
using CpuList = std::vector<unsigned>;

/// Parses "0,2-5". Errors: anything else, or a CPU that this host does not have.
Result<CpuList> parse_cpu_list(std::string_view text);
std::string format_cpu_list(const CpuList& cpus);

/// CPUs that this process may run on.
CpuList allowed_cpus();
/// Pins a thread; an empty list leaves it as it is.
Status pin_thread(int tid, const CpuList& cpus);
inline Status pin_this_thread(const CpuList& cpus) { return pin_thread(0, cpus); }

}  // namespace bellhop
