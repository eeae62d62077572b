#pragma once

#include <cstdint>
#include <vector>

#include "base/cpu_list.h"
#include "base/result.h"

namespace bellhop::bench {

// What the cells of every sweep have in common: whose machine it is, and on which CPUs.

enum class Placement : std::uint8_t {
  kSameCore,    ///< all vCPUs' and the I/O thread on one CPU
  kOtherCore,   ///< each vCPU on a CPU of its own, the I/O thread on a further one
  kFree,        ///< left to the scheduler
  kOvercommit,  ///< left to the scheduler, with more vCPUs than CPUs
};
enum class Vmm : std::uint8_t {
  kBellhop,
  kQemu,
  kInprocess,  ///< no VM: a driver in this process rings the same engine by plain eventfds
};

/// CPUs for the threads of one machine; empty lists leave them to the scheduler.
struct CpuPlan {
  std::vector<CpuList> vcpus;  ///< one for each vCPU, or none
  CpuList io;
};

const char* to_string(Placement placement) noexcept;
const char* to_string(Vmm vmm) noexcept;

/// Errors: the CPUs of this process (`available`) do not allow this placement; the text says why.
Result<CpuPlan> plan_cpus(Placement placement, unsigned vcpus, const CpuList& available);

}  // namespace bellhop::bench
