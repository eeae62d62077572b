#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "apps/bellhop/bench_output.h"
#include "base/unique_fd.h"
#include "bench/blk/blk_sweep.h"
#include "bench/harness/machine_command.h"

namespace bellhop {

/// All that a sweep of disks needs, from the arguments of its command.
struct BlkJob {
  bench::BlkSweep sweep;
  bench::BlkSetting setting;
  bench::Launch launch;
  bench::BlkImages images;
  bench::Comparing comparing;
  nlohmann::ordered_json options;  ///< what decides what is measured, for --resume
  double around_s = 0;             ///< what a repeat takes beside its seconds: a start and an end
};

/// Runs it, from what `resume` (a file, or empty) has on, and writes the report. `make_measure`
/// makes what measures a cell, which ends where its event is signalled. Returns the exit status.
int run_blk_job(const BlkJob& job, const std::string& resume, const BenchOutput& output,
                const std::function<bench::Measure(const EventFd& interrupt)>& make_measure);

}  // namespace bellhop
