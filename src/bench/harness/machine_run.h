#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "bench/harness/child.h"
#include "bench/harness/cpu_account.h"
#include "bench/harness/machine_cell.h"
#include "bench/harness/measurement.h"

namespace bellhop::bench {

/// The guest's "result" line as a measurement, without what only the host knows. Errors: fields
/// that are missing, nothing done, or data that was not verified.
Result<Measurement> read_result(const nlohmann::json& result);
/// The same of a guest that was told to check nothing (check=off). Errors: it did check, requests
/// that failed, nothing done.
Result<Measurement> read_unchecked_result(const nlohmann::json& result);

/// One machine to be run once.
struct MachineRun {
  std::vector<std::string> command;
  /// Descriptors of ours and the numbers that they get there, besides those of the harness itself.
  std::vector<std::pair<int, int>> files;
  CpuPlan plan;
  double seconds = 0;                 ///< that the guest will take from its start on
  pid_t other = -1;                   ///< a process whose CPU time is sampled beside the machine's
  std::chrono::seconds patience{20};  ///< for a start, a boot and an end, beyond `seconds`
  /// What the guest's "result" line means.
  Result<Measurement> (*read)(const nlohmann::json& result) = read_result;
};

struct MachineOutcome {
  Measurement measurement;
  nlohmann::json result;  ///< the guest's line
  double other_cpu_s = 0;
};

/// Runs machines with the bench guest in a process of their own and measures them from outside, the
/// same for every VMM: throughput and latency are the guest's own (by its TSC); CPU time is sampled
/// when its "begin" and "end" lines arrive.
class MachineRunner {
 public:
  explicit MachineRunner(const EventFd& interrupt) : interrupt_(interrupt) {}

  /// Errors: what the VMM or the guest complained of, a wrong byte among it; kEndedByUser where
  /// `interrupt` was signalled.
  Result<MachineOutcome> run_bellhop(const MachineRun& run) const;
  Result<MachineOutcome> run_qemu(const MachineRun& run) const;

 private:
  /// From the guest's lines.
  struct Observed {
    CpuSample begin;
    CpuSample end;
    CpuSample other_begin;
    CpuSample other_end;
    nlohmann::json result;
  };
  Result<Observed> observe(Child& child, const MachineRun& run) const;

  const EventFd& interrupt_;
};

/// All that is in an open file, wherever it is read or written now.
std::string read_whole_file(int fd);

/// The counters between the markers, and the ids of the vCPU threads, of `bellhop run --stats`.
struct StatsFile {
  Counters counters;
  std::vector<int> vcpu_tids;
};
Result<StatsFile> read_stats(const std::string& text);

}  // namespace bellhop::bench
