#include "base/cpu_meter.h"

#include <dirent.h>
#include <time.h>

#include <cstdlib>
#include <memory>
#include <optional>

namespace bellhop {

namespace {

using std::chrono::nanoseconds;

/// Nothing: there is no such thread of ours.
std::optional<nanoseconds> cpu_time(int tid) noexcept {
  // As the kernel names the clock of a thread (linux/posix-timers: CPUCLOCK_SCHED, per thread);
  // the C library makes them for its own threads only.
  const auto clock = static_cast<clockid_t>((~static_cast<unsigned>(tid) << 3) | 6U);
  ::timespec time{};
  if (::clock_gettime(clock, &time) != 0) return std::nullopt;
  return std::chrono::seconds(time.tv_sec) + nanoseconds(time.tv_nsec);
}

}  // namespace

void CpuMeter::begin() {
  threads_.clear();
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc/self/task"), &::closedir);
  if (folder == nullptr) return;
  while (const ::dirent* const entry = ::readdir(folder.get())) {
    const int tid = std::atoi(entry->d_name);  // "." and ".." are 0
    if (tid == 0) continue;
    if (const auto now = cpu_time(tid)) threads_.push_back({tid, *now});
  }
}

nanoseconds CpuMeter::used() const noexcept {
  nanoseconds sum{0};
  for (const Thread& thread : threads_) {
    if (const auto now = cpu_time(thread.tid)) sum += *now - thread.before;
  }
  return sum;
}

}  // namespace bellhop
