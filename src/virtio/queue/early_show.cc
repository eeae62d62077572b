#include "virtio/queue/early_show.h"

#include <sys/resource.h>

#include <algorithm>

namespace bellhop {

namespace {

/// How often this thread has lost its CPU although it wanted to go on.
long times_lost() noexcept {
  ::rusage usage{};
  return ::getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : 0;
}

}  // namespace

void EarlyShow::signal(const EventFd& event) noexcept {
  const long before = times_lost();
  event.signal();
  weigh(times_lost() != before);
}

void EarlyShow::weigh(bool lost) noexcept {
  if (!lost) {
    pause_ = kFirstPause;
    return;
  }
  left_ = pause_;
  pause_ = std::min(2 * pause_, kMaxPause);
}

}  // namespace bellhop
