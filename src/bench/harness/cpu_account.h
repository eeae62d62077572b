#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace bellhop::bench {

/// The CPU time and context switches of a process at one moment, as the kernel's scheduler counts
/// them: guest time, kernel and user time alike. io_uring's workers are threads of the process;
/// vhost's are of the kernel before Linux 6.4, and count with the process that they work for.
struct CpuSample {
  struct Thread {
    std::uint64_t cpu_ns = 0;
    std::uint64_t context_switches = 0;
    /// Times that it was woken from another CPU than the one on which it then ran.
    /// Nothing where the kernel does not count them.
    std::optional<std::uint64_t> remote_wakeups;
    /// Of cpu_ns, in the kernel: its tick's estimate, in hundredths of a second.
    std::uint64_t system_ns = 0;
    /// Ready to run, while its CPU ran others.
    std::uint64_t run_delay_ns = 0;
  };
  std::uint64_t process_ns = 0;  ///< with threads that have ended, and with vhost's
  std::map<int, Thread> threads;
  std::uint64_t steal_ns = 0;  ///< of all CPUs: this host was ready, its own host ran others

  /// Errors: no such process, or a file in /proc that cannot be read: a figure without it would be
  /// wrong. What another user hides there is not looked at.
  static Result<CpuSample> take(pid_t pid);
};

/// What happened between two samples.
struct CpuUse {
  double total_s = 0;
  double vcpu_s = 0;                   ///< of the threads named
  double io_s = 0;                     ///< of all others: I/O threads, their workers, main thread
  double io_system_s = 0;              ///< of these, in the kernel (threads that lived at the end)
  std::uint64_t context_switches = 0;  ///< of all threads that lived at both ends
  std::optional<std::uint64_t> remote_wakeups;  ///< of the same; nothing where not counted
  double vcpu_run_delay_s = 0;                  ///< of the threads named
  double io_run_delay_s = 0;                    ///< of all others
  double steal_s = 0;
};
CpuUse used_between(const CpuSample& begin, const CpuSample& end, const std::vector<int>& vcpus);

struct Measurement;
/// Fills in all that a measurement has of CPU time.
void add_cpu_use(Measurement& measurement, const CpuUse& use);

/// The system time, in clock ticks, of a /proc/PID/task/TID/stat; 0 if it is not in there.
std::uint64_t find_system_ticks(const std::string& stat);
/// The time that a hypervisor kept from all CPUs, in clock ticks, of /proc/stat.
std::uint64_t find_steal_ticks(const std::string& stat);
/// nr_wakeups_remote of a /proc/PID/task/TID/sched; nothing if it is not in there.
std::optional<std::uint64_t> find_remote_wakeups(const std::string& sched);
/// Whether the kernel counts wake-ups now (kernel.sched_schedstats=1, and built with them).
bool wakeups_are_counted();

}  // namespace bellhop::bench
