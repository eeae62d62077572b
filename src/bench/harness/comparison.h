#pragma once

#include <string>
#include <vector>

#include "bench/harness/machine_cell.h"
#include "bench/harness/ratio.h"

namespace bellhop::bench {

/// Two runs of a report that are held against each other.
struct Comparison {
  std::string cell;
  std::string base;
  Vmm cell_vmm;
  Vmm base_vmm;  ///< a QEMU, or the cell's own where two ways to notify are compared
  Ratio throughput;
  Ratio efficiency;

  [[nodiscard]] bool is_behind() const noexcept {
    return throughput.verdict == Ratio::Verdict::kBelow ||
           efficiency.verdict == Ratio::Verdict::kBelow;
  }
};

/// All that is_compared(cell, base) says of.
template <class Report>
std::vector<Comparison> compare_runs(const Report& report) {
  std::vector<Comparison> comparisons;
  for (const auto& run : report.runs) {
    for (const auto& base : report.runs) {
      if (!is_compared(run.cell, base.cell)) continue;
      comparisons.push_back({describe(run.cell), describe(base.cell), run.cell.vmm, base.cell.vmm,
                             report.comparing.throughput(&run, &base),
                             report.comparing.efficiency(&run, &base)});
    }
  }
  return comparisons;
}

}  // namespace bellhop::bench
