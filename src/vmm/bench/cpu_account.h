#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <vector>

#include "base/result.h"

namespace bellhop::bench {

/// The CPU time and context switches of a process at one moment, as the kernel's scheduler counts
/// them: guest time, kernel and user time alike. io_uring's workers are threads of the process.
struct CpuSample {
  struct Thread {
    std::uint64_t cpu_ns = 0;
    std::uint64_t context_switches = 0;
  };
  std::uint64_t process_ns = 0;  ///< with threads that have ended
  std::map<int, Thread> threads;

  /// Errors: no such process.
  static Result<CpuSample> take(pid_t pid);
};

/// What happened between two samples.
struct CpuUse {
  double total_s = 0;
  double vcpu_s = 0;                   ///< of the threads named
  double io_s = 0;                     ///< of all others: I/O threads, their workers, main thread
  std::uint64_t context_switches = 0;  ///< of all threads that lived at both ends
};
CpuUse used_between(const CpuSample& begin, const CpuSample& end, const std::vector<int>& vcpus);

}  // namespace bellhop::bench
