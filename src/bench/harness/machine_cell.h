#pragma once

#include <compare>
#include <cstdint>
#include <string>
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
  kBusy,        ///< left to the scheduler, beside kBusyProcesses that never sleep
};
/// Whose machine it is.
struct Vmm {
  enum class Kind : std::uint8_t {
    kBellhop,
    kQemu,
    kInprocess,  ///< no VM: a driver in this process rings the same engine by plain eventfds
    kSocket,     ///< no VM: a vhost-user back end that listens already
  };
  static const Vmm kBellhop;
  static const Vmm kQemu;  ///< the first
  static const Vmm kInprocess;
  static const Vmm kSocket;

  Kind kind = Kind::kBellhop;
  unsigned number = 0;  ///< which of the QEMUs of a sweep, from 0 on

  [[nodiscard]] constexpr bool is_qemu() const noexcept { return kind == Kind::kQemu; }
  friend constexpr auto operator<=>(const Vmm&, const Vmm&) = default;
};
inline constexpr Vmm Vmm::kBellhop{Kind::kBellhop, 0};
inline constexpr Vmm Vmm::kQemu{Kind::kQemu, 0};
inline constexpr Vmm Vmm::kInprocess{Kind::kInprocess, 0};
inline constexpr Vmm Vmm::kSocket{Kind::kSocket, 0};

/// How many processes of ours compute beside a machine of Placement::kBusy, all the while.
inline constexpr unsigned kBusyProcesses = 2;

/// CPUs for the threads of one machine; empty lists leave them to the scheduler.
struct CpuPlan {
  std::vector<CpuList> vcpus;  ///< one for each vCPU, or none
  CpuList io;
  unsigned busy_processes = 0;  ///< beside the machine: see BusyLoad
};

const char* to_string(Placement placement) noexcept;
const char* to_string(Vmm::Kind kind) noexcept;
/// "bellhop", "qemu", "qemu#2".
std::string describe(Vmm vmm);

/// Errors: the CPUs of this process (`available`) do not allow this placement; the text says why.
Result<CpuPlan> plan_cpus(Placement placement, unsigned vcpus, const CpuList& available);

}  // namespace bellhop::bench
