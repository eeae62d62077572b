#pragma once

#include <sched.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "testing/eventually.h"

namespace bellhop::testing {

/// Two CPUs that this process may run on, or nothing where there is one.
inline std::optional<std::pair<int, int>> two_cpus() {
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return std::nullopt;
  int first = -1;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(static_cast<std::size_t>(cpu), &allowed)) continue;
    if (first >= 0) return std::pair{first, cpu};
    first = cpu;
  }
  return std::nullopt;
}

/// Binds the calling thread to one CPU for as long as it lives.
class Pinned {
 public:
  explicit Pinned(int cpu) {
    ::sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(static_cast<std::size_t>(cpu), &only);
    ::sched_setaffinity(0, sizeof only, &only);
  }
  ~Pinned() { ::sched_setaffinity(0, sizeof before_, &before_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  cpu_set_t before_{};
};

/// Where two threads meet and leave within some nanoseconds of each other.
class MeetingPoint {
 public:
  /// False if the other one has given up or does not come.
  [[nodiscard]] bool meet() noexcept {
    const unsigned both = (arrived_.fetch_add(1, std::memory_order_acq_rel) / 2 + 1) * 2;
    // Spins, so as to leave at once; yields now and then, for the other may want this very CPU.
    const auto end = std::chrono::steady_clock::now() + kPatience;
    for (unsigned look = 1; arrived_.load(std::memory_order_acquire) < both; ++look) {
      if (given_up_.load(std::memory_order_relaxed)) return false;
      if (look % 4096 != 0) continue;
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }
  void give_up() noexcept { given_up_ = true; }

 private:
  std::atomic<unsigned> arrived_{0};
  std::atomic<bool> given_up_{false};
};

/// Lets a few nanoseconds pass, by `steps`: who comes first must vary.
inline void linger(unsigned steps) noexcept {
  for (std::atomic<unsigned> left = steps; left.load(std::memory_order_relaxed) != 0;) {
    left.store(left.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
  }
}

}  // namespace bellhop::testing
