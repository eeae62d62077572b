#pragma once

#include <string>
#include <vector>

#include "bench/harness/machine_cell.h"
#include "bench/harness/programs.h"
#include "config/machine_config.h"

namespace bellhop::bench {

/// Numbers that a child finds its inherited files under.
inline constexpr int kImageFd = 100;
inline constexpr int kStatsFd = 101;
inline constexpr int kQmpFd = 102;
inline constexpr int kExplainFd = 103;

/// Where the programs are and what the guest is told.
struct Launch {
  std::string bellhop = "/proc/self/exe";
  std::string guest;             ///< bench-guest.elf, or a Linux kernel
  std::string initrd;            ///< a Linux guest's; empty for the bench guest
  std::string iperf = "iperf3";  ///< for a Linux guest's stream
  double warmup_s = 0.5;         ///< before the measured seconds
  std::string extra_cmdline;     ///< further words for the guest
};

/// What the bench guest must be told to drive its devices this way; begins with a blank if not
/// empty.
std::string guest_words(TransportKind transport);

/// The command line of a machine without devices: the bench guest with `cmdline`, the CPUs of
/// `plan`, an I/O thread "io0", and statistics to kStatsFd.
std::vector<std::string> bellhop_machine(const Launch& launch, const CpuPlan& plan, unsigned vcpus,
                                         TransportKind transport, const std::string& cmdline);
/// That of QEMU, with the same guest: at its best with the host's own CPU. It starts stopped, for
/// its threads to be pinned by kQmpFd.
std::vector<std::string> qemu_machine(const Qemu& qemu, const Launch& launch, unsigned vcpus,
                                      const std::string& cmdline);

/// The path under which a child finds one of its inherited files.
std::string inherited_file(int fd);

}  // namespace bellhop::bench
