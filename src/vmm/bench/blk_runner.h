#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vmm/bench/child.h"
#include "vmm/bench/cpu_account.h"
#include "vmm/bench/figures.h"
#include "vmm/bench/vmm_command.h"

namespace bellhop::bench {

/// Runs one repeat of one cell in a process of its own and measures it from outside, the same for
/// every VMM: throughput and latency are the guest's own (by its TSC); CPU time is sampled when its
/// "begin" and "end" lines arrive.
class BlkRunner {
 public:
  BlkRunner(BlkSetting setting, BlkLaunch launch, const EventFd& interrupt)
      : setting_(std::move(setting)), launch_(std::move(launch)), interrupt_(interrupt) {}

  /// `image` is an open file of ours. Errors: what the VMM or the guest complained of, a wrong byte
  /// among it; EINTR where `interrupt` was signalled.
  Result<Measurement> run(const BlkCell& cell, const CpuPlan& plan, int image) const;

 private:
  /// From the guest's lines.
  struct Observed {
    CpuSample begin;
    CpuSample end;
    nlohmann::json result;
  };
  Result<Measurement> run_bellhop(const BlkCell& cell, const CpuPlan& plan, int image) const;
  Result<Measurement> run_qemu(const BlkCell& cell, const CpuPlan& plan, int image) const;
  Result<Observed> observe(Child& child) const;
  [[nodiscard]] Child::Clock::time_point deadline() const;

  BlkSetting setting_;
  BlkLaunch launch_;
  const EventFd& interrupt_;
};

/// The guest's "result" line as a measurement, without what only the host knows. Errors: fields
/// that are missing, nothing done, or data that was not verified.
Result<Measurement> read_result(const nlohmann::json& result);
/// The counters between the markers, and the ids of the vCPU threads, of `bellhop run --stats`.
struct StatsFile {
  Counters counters;
  std::vector<int> vcpu_tids;
};
Result<StatsFile> read_stats(const std::string& text);

/// "8.2.1": what `qemu --version` says; empty where it is not installed.
std::string qemu_version(const std::string& program);

}  // namespace bellhop::bench
