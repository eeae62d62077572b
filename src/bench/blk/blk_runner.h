#pragma once

#include "base/result.h"
#include "base/unique_fd.h"
#include "bench/harness/machine_run.h"
#include "bench/harness/vmm_command.h"
#include "bench/report/results.h"

namespace bellhop::bench {

/// Runs one repeat of one cell: a machine with the bench guest and one disk.
class BlkRunner {
 public:
  BlkRunner(BlkSetting setting, Launch launch, const EventFd& interrupt)
      : setting_(std::move(setting)), launch_(std::move(launch)), runner_(interrupt) {}

  /// `image` is an open file of ours, or -1 for a null medium. Errors: as those of MachineRunner.
  Result<Measurement> run(const BlkCell& cell, const CpuPlan& plan, int image) const;

 private:
  BlkSetting setting_;
  Launch launch_;
  MachineRunner runner_;
};

}  // namespace bellhop::bench
