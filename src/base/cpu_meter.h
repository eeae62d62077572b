#pragma once

#include <chrono>
#include <vector>

namespace bellhop {

/// What CPU time this process's threads use between two moments. The kernel's clock of a whole
/// process lags by up to a tick for each of its threads that runs on another CPU; this asks each
/// thread's own, which does not. Takes some microseconds for each thread. One thread.
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
  std::vector<Thread> threads_;
};

}  // namespace bellhop
