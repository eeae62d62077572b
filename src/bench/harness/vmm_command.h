#pragma once

#include <string>
#include <vector>

#include "bench/blk/blk_cell.h"
#include "bench/harness/machine_command.h"
#include "bench/report/results.h"

namespace bellhop::bench {

/// The bench guest's command line for a cell; see guest/README.md.
std::string guest_cmdline(const BlkCell& cell, const BlkSetting& setting, const Launch& launch);
/// `bellhop run ...`
std::vector<std::string> bellhop_command(const BlkCell& cell, const CpuPlan& plan,
                                         const BlkSetting& setting, const Launch& launch);
/// QEMU with the same guest, disk, back end and cache mode: sync is ioeventfd=off, ioeventfd is
/// ioeventfd=on with an I/O thread. It starts stopped, for its threads to be pinned.
std::vector<std::string> qemu_command(const BlkCell& cell, const BlkSetting& setting,
                                      const Launch& launch);

}  // namespace bellhop::bench
