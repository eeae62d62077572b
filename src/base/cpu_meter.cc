#include "base/cpu_meter.h"

#include <dirent.h>
#include <time.h>

#include <cstdlib>
#include <memory>

namespace bellhop {

namespace {

using std::chrono::nanoseconds;

/// Nothing: there is no such clock.
std::optional<nanoseconds> time_of(clockid_t clock) noexcept {
  ::timespec time{};
  if (::clock_gettime(clock, &time) != 0) return std::nullopt;
  return std::chrono::seconds(time.tv_sec) + nanoseconds(time.tv_nsec);
}

/// The CPU time of a thread of this process by its id: pthread_getcpuclockid() wants a pthread_t,
/// which not all threads here have (io_uring's).
clockid_t clock_of(int tid) noexcept {
  constexpr unsigned kPerThread = 4;
  constexpr unsigned kScheduled = 2;
  return static_cast<clockid_t>((~static_cast<unsigned>(tid) << 3) | kPerThread | kScheduled);
}

}  // namespace

std::optional<nanoseconds> cpu_time_of(int tid) noexcept { return time_of(clock_of(tid)); }

nanoseconds process_cpu_time() noexcept {
  return time_of(CLOCK_PROCESS_CPUTIME_ID).value_or(nanoseconds(0));
}

void CpuMeter::begin() {
  threads_.clear();
  before_ = process_cpu_time();
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc/self/task"), &::closedir);
  if (folder == nullptr) return;
  while (const ::dirent* const entry = ::readdir(folder.get())) {
    const int tid = std::atoi(entry->d_name);  // "." and ".." are 0
    if (tid == 0) continue;
    if (const auto now = cpu_time_of(tid)) threads_.push_back({tid, *now});
  }
}

nanoseconds CpuMeter::used() const noexcept {
  if (threads_.empty()) {
    return process_cpu_time() - before_;
  }
  nanoseconds sum{0};
  for (const Thread& thread : threads_) {
    if (const auto now = cpu_time_of(thread.tid)) sum += *now - thread.before;
  }
  return sum;
}

}  // namespace bellhop
