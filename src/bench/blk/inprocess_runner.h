#pragma once

#include "base/result.h"
#include "base/unique_fd.h"
#include "bench/report/results.h"

namespace bellhop::bench {

/// `bench blk --host inprocess`: the workloads against the same device, rings and back end, with
/// a driver in this process in a guest's place. Kicks and calls are plain eventfds (or, with
/// notify=sync, a call of the runner): no VM exit, no interrupt. The floor under the machines.
class InprocessRunner {
 public:
  InprocessRunner(BlkSetting setting, double warmup_s, const EventFd& interrupt)
      : setting_(std::move(setting)), warmup_s_(warmup_s), interrupt_(interrupt) {}

  /// Errors: the back end cannot be had, more than one vCPU is asked for, a request failed or a
  /// block was wrong; kEndedByUser where `interrupt` was signalled.
  [[nodiscard]] Result<Measurement> run(const BlkCell& cell, const CpuPlan& plan, int image) const;

 private:
  BlkSetting setting_;
  double warmup_s_;
  const EventFd& interrupt_;
};

}  // namespace bellhop::bench
