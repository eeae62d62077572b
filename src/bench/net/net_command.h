#pragma once

#include <string>
#include <vector>

#include "bench/harness/machine_command.h"
#include "bench/net/net_cell.h"
#include "bench/net/net_results.h"

namespace bellhop::bench {

/// The number under which a VMM finds its tap device, and the host's end its control socket.
inline constexpr int kTapFd = 104;
inline constexpr int kEndFd = 105;

/// The bench guest's command line for a cell; see guest/README.md.
std::string guest_cmdline(const NetCell& cell, const NetSetting& setting, const Launch& launch);
/// `bellhop run ...` with one NIC on the tap device of kTapFd.
std::vector<std::string> bellhop_command(const NetCell& cell, const CpuPlan& plan,
                                         const NetSetting& setting, const Launch& launch);
/// QEMU with the same guest, tap device and queue size: sync is ioeventfd=off, ioeventfd is
/// ioeventfd=on, both in its main loop; vhost-net is vhost=on.
std::vector<std::string> qemu_command(const NetCell& cell, const NetSetting& setting,
                                      const Launch& launch);

}  // namespace bellhop::bench
