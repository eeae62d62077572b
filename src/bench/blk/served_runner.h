#pragma once

#include "base/result.h"
#include "base/unique_fd.h"
#include "bench/harness/child.h"
#include "bench/harness/machine_command.h"
#include "bench/report/results.h"

namespace bellhop::bench {

/// `bench vhost-user`: the workloads against a vhost-user back end, a process of its own, with a
/// driver in this process in a guest's place. Kicks and calls are the eventfds that a VMM would
/// hand over: no VM, no exit, no interrupt. CPU time is the back end's alone.
class ServedRunner {
 public:
  ServedRunner(BlkSetting setting, Launch launch, const EventFd& interrupt)
      : setting_(std::move(setting)), launch_(std::move(launch)), interrupt_(interrupt) {}

  /// `image` is an open file of ours that the back end serves; -1 for a null medium, and for a
  /// back end that listens already. Errors: the back end cannot be started or spoken with, a
  /// request failed or a block was wrong; kEndedByUser where `interrupt` was signalled.
  [[nodiscard]] Result<Measurement> run(const BlkCell& cell, const CpuPlan& plan, int image);

 private:
  Result<Measurement> run_started(const BlkCell& cell, const CpuPlan& plan, int image);
  /// With a back end that listens on `socket`; `server` is null where it is none of ours.
  Result<Measurement> run_with(Child* server, const std::string& socket, const BlkCell& cell,
                               const CpuPlan& plan, int image);

  BlkSetting setting_;
  Launch launch_;
  const EventFd& interrupt_;
  bool filled_ = false;  ///< the disk at setting_.socket, by an earlier run
};

/// The command that serves a disk on the socket: `bellhop serve`, or the qemu-storage-daemon that
/// cell.vmm numbers among the programs.
std::vector<std::string> back_end_command(const BlkCell& cell, const BlkSetting& setting,
                                          const Launch& launch, const std::string& socket);

}  // namespace bellhop::bench
