#pragma once

#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "bench/explain/explanation.h"
#include "bench/harness/machine_command.h"
#include "bench/harness/machine_run.h"
#include "bench/report/results.h"

namespace bellhop::bench {

/// What a cell was measured at, and where the time of its requests went.
struct ExplainedRun {
  Measurement measurement;
  std::vector<QueueExplanation> queues;
};

/// Runs a cell of `bench blk` with its requests stamped: a machine with the bench guest, which says
/// when it offers and sees them.
class ExplainRunner {
 public:
  ExplainRunner(BlkSetting setting, Launch launch, const EventFd& interrupt);

  /// Errors: as those of BlkRunner.
  Result<ExplainedRun> run(const BlkCell& cell, const CpuPlan& plan, int image) const;

 private:
  BlkSetting setting_;
  Launch launch_;
  MachineRunner runner_;
};

}  // namespace bellhop::bench
