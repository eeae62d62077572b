#pragma once

#include "base/result.h"
#include "base/unique_fd.h"
#include "bench/harness/interleave.h"
#include "bench/harness/machine_run.h"
#include "bench/net/net_command.h"
#include "bench/net/net_results.h"

namespace bellhop::bench {

/// Runs one repeat of one cell: a process for the host's end of the link, in a network namespace
/// that it makes, and a machine with the bench guest on the tap device in there. All of it is gone
/// when `run` returns, or when this process ends in whatever way.
class NetRunner {
 public:
  NetRunner(NetSetting setting, Launch launch, const EventFd& interrupt)
      : setting_(std::move(setting)), launch_(std::move(launch)), runner_(interrupt) {}

  /// Errors: as those of MachineRunner; no rights for a network namespace or a tap device.
  Result<NetMeasurement> run(const NetCell& cell, const CpuPlan& plan) const;

 private:
  NetSetting setting_;
  Launch launch_;
  MachineRunner runner_;
};

/// The host's end of the link, `bellhop bench net-end`: makes namespace, tap device and socket,
/// passes the tap device over the Unix socket `control`, and serves until that is closed.
/// With `iperf`, the path of an iperf3, this process becomes its server instead, and ends only when
/// it is ended.
Status serve_net_end(int control, unsigned mtu, const std::string& iperf);

/// The "result" line of the Linux guest, which has iperf3's report in it. `operations` are
/// messages. Errors: what iperf3 complained of; nothing done.
Result<Measurement> read_iperf_result(const nlohmann::json& result);
/// Segments that the sender sent again; 0 where the report does not say.
std::uint64_t iperf_retransmits(const nlohmann::json& result);

/// What only the guest's "result" line of a network workload tells.
void read_net_result(const nlohmann::json& result, NetMeasurement& measurement);

/// Why this host or this VMM cannot run a cell; empty if it can.
std::string why_not(const NetCell& cell, const NetSetting& setting, bool qemu_has_uso);

/// Runs every cell of `sweep`, and what `earlier` has not measured yet. `report` has its settings
/// and seed. After `interrupt` it has what was done until then.
void run_net_sweep(const NetSweep& sweep, const Launch& launch, const EventFd& interrupt,
                   const Earlier<NetMeasurement>& earlier, const SweepHooks& hooks,
                   NetReport& report);

}  // namespace bellhop::bench
