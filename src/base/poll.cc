#include "base/poll.h"

#include <cerrno>
#include <chrono>
#include <thread>

namespace bellhop {

int wait_ready(std::span<pollfd> fds, int milliseconds) noexcept {
  for (pollfd& fd : fds) fd.revents = 0;
  const int ready = ::poll(fds.data(), fds.size(), milliseconds);
  if (ready >= 0) return ready;
  if (errno != EINTR) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return 0;
}

}  // namespace bellhop
