#pragma once

#include <vector>

#include "bench/harness/comparison.h"
#include "bench/harness/programs.h"
#include "bench/report/table.h"

namespace bellhop::bench {

/// "Where Bellhop loses": the comparisons whose interval lies below 1, by throughput or by
/// efficiency, to a peer or, of two ways to notify, to sync.
Table losses_table(const std::vector<Comparison>& comparisons, bool single_repeats,
                   const Programs& programs);

template <class Report>
Table losses_table(const Report& report) {
  return losses_table(compare_runs(report), report.setting.rounds.most == 1,
                      report.setting.programs);
}

}  // namespace bellhop::bench
