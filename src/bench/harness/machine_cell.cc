#include "bench/harness/machine_cell.h"

#include <fmt/format.h>

namespace bellhop::bench {

const char* to_string(Placement placement) noexcept {
  switch (placement) {
    case Placement::kSameCore:
      return "same-core";
    case Placement::kOtherCore:
      return "other-core";
    case Placement::kFree:
      return "free";
    case Placement::kOvercommit:
      return "overcommit";
    case Placement::kBusy:
      return "busy";
  }
  return "";
}

const char* to_string(Vmm::Kind kind) noexcept {
  switch (kind) {
    case Vmm::Kind::kBellhop:
      return "bellhop";
    case Vmm::Kind::kQemu:
      return "qemu";
    case Vmm::Kind::kInprocess:
      return "inprocess";
    case Vmm::Kind::kSocket:
      return "socket";
  }
  return "";
}

std::string describe(Vmm vmm) {
  std::string text = to_string(vmm.kind);
  if (vmm.number > 0) text += fmt::format("#{}", vmm.number + 1);
  return text;
}

Result<CpuPlan> plan_cpus(Placement placement, unsigned vcpus, const CpuList& available) {
  CpuPlan plan;
  const std::size_t cpus = available.size();
  switch (placement) {
    case Placement::kFree:
      return plan;
    case Placement::kBusy:
      plan.busy_processes = kBusyProcesses;
      return plan;
    case Placement::kOvercommit:
      if (vcpus > cpus) return plan;
      return fail(fmt::format("overcommit needs more vCPUs than this host's {} CPUs (--vcpus {})",
                              cpus, cpus + 1));
    case Placement::kSameCore:
      if (cpus == 0) return fail("same-core needs a CPU");
      plan.vcpus.assign(vcpus, {available.front()});
      plan.io = {available.front()};
      return plan;
    case Placement::kOtherCore:
      if (vcpus + 1 > cpus) {
        return fail(
            fmt::format("other-core needs {} CPUs, one for each vCPU and one for the I/O "
                        "thread; there are {}",
                        vcpus + 1, cpus));
      }
      for (unsigned i = 0; i < vcpus; ++i) plan.vcpus.push_back({available[i]});
      plan.io = {available[vcpus]};
      return plan;
  }
  return fail("unknown placement");
}

}  // namespace bellhop::bench
