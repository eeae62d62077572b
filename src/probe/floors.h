#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/cpu_list.h"
#include "base/result.h"
#include "hypervisor/hypervisor.h"

namespace bellhop {

/// The least that notification costs on this host, in microseconds: medians. Nothing where it could
/// not be measured (one CPU only, no KVM).
struct Floors {
  std::optional<double> userspace_exit_us;      ///< MMIO write to user space and back
  std::optional<double> userspace_exit_pio_us;  ///< the same by OUT
  std::optional<double> ioeventfd_kick_us;      ///< MMIO write of 2 bytes, taken by an ioeventfd
  std::optional<double> ioeventfd_kick_len0_us;
  std::optional<double> ioeventfd_kick_len4_us;
  std::optional<double> ioeventfd_kick_pio_us;
  std::optional<double> irqfd_to_handler_us;  ///< signal of an irqfd to the handler's first effect
  std::optional<double> wake_same_core_us;    ///< eventfd write to the waiting reader's return
  std::optional<double> wake_other_core_us;
  /// How much slower an instruction is in guest kernel mode than in guest user mode.
  std::optional<double> kernel_mode_ratio;
};

/// Over this, guest kernel mode is interpreted instruction by instruction, and stock kernels are
/// hopeless.
inline constexpr double kInterpretedRatio = 50;

/// TSC ticks in a microsecond, measured once over some milliseconds.
double tsc_ticks_per_us();
double median(std::vector<double> values);
double median_us(std::span<const std::uint32_t> ticks);

/// Time from an eventfd's write to its reader running, from `rounds` round trips of two threads
/// pinned to these CPUs. Errors: a CPU that is not ours.
Result<double> measure_wake_us(unsigned cpu_a, unsigned cpu_b, unsigned rounds);

/// Measures in small guests of its own, on `cpus` (empty: those that the process may use), about a
/// second altogether. What is missing is explained in `notes`.
Result<Floors> measure_floors(Hypervisor& hypervisor, const CpuList& cpus,
                              std::vector<std::string>& notes);
/// How much slower an instruction is in guest kernel mode than in guest user mode, in some
/// milliseconds. To be compared with kInterpretedRatio.
Result<double> measure_kernel_mode_ratio(Hypervisor& hypervisor);
/// Why Linux cannot run on this host, to be put behind the option at fault; nothing where it can,
/// or where that cannot be measured.
std::optional<std::string> why_no_linux(Hypervisor& hypervisor);
/// The part that needs no KVM.
void measure_wakes(Floors& floors, const CpuList& cpus, std::vector<std::string>& notes);

/// The schema's "floors"; what was not measured is null.
nlohmann::ordered_json to_json(const Floors& floors);

}  // namespace bellhop
