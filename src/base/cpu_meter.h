#pragma once

#include <chrono>
#include <optional>
#include <vector>

namespace bellhop {

/// The CPU time that a thread of this process has used. Nothing: there is no such thread.
std::optional<std::chrono::nanoseconds> cpu_time_of(int tid) noexcept;

/// That all threads of this process have used, ended ones as well. Lags by up to a tick for each
/// thread that runs on another CPU.
std::chrono::nanoseconds process_cpu_time() noexcept;

/// What CPU time this process's threads use between two moments. The kernel's clock of a whole
/// process lags by up to a tick for each of its threads that runs on another CPU; this asks each
/// thread's own, which does not; the first where the host has no descriptor left to find them by.
/// Takes some microseconds for each thread. One thread.
class CpuMeter {
 public:
  /// From now on, of the threads that there are now.
  void begin();
  /// Since begin(). A thread that has ended meanwhile is not counted.
  [[nodiscard]] std::chrono::nanoseconds used() const noexcept;

 private:
  struct Thread {
    int tid;
    std::chrono::nanoseconds before;
  };
  std::vector<Thread> threads_;         // empty: the clock of the process counts
  std::chrono::nanoseconds before_{0};  // of that clock
};

}  // namespace bellhop
