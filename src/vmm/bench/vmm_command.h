#pragma once

#include <string>
#include <vector>

#include "vmm/bench/blk_cell.h"
#include "vmm/bench/figures.h"

namespace bellhop::bench {

/// Numbers that a child finds its inherited files under.
inline constexpr int kImageFd = 100;
inline constexpr int kStatsFd = 101;
inline constexpr int kQmpFd = 102;

/// Where the programs are and what the guest is told.
struct BlkLaunch {
  std::string bellhop = "/proc/self/exe";
  std::string qemu = "qemu-system-x86_64";
  std::string guest;          ///< bench-guest.elf
  double warmup_s = 0.5;      ///< before the measured seconds
  std::string extra_cmdline;  ///< further words for the guest
};

/// The bench guest's command line for a cell; see guest/README.md.
std::string guest_cmdline(const BlkCell& cell, const BlkSetting& setting, const BlkLaunch& launch);
/// `bellhop run ...`
std::vector<std::string> bellhop_command(const BlkCell& cell, const CpuPlan& plan,
                                         const BlkSetting& setting, const BlkLaunch& launch);
/// QEMU with the same guest, disk, back end and cache mode: sync is ioeventfd=off, ioeventfd is
/// ioeventfd=on with an I/O thread. It starts stopped, for its threads to be pinned.
std::vector<std::string> qemu_command(const BlkCell& cell, const BlkSetting& setting,
                                      const BlkLaunch& launch);

}  // namespace bellhop::bench
