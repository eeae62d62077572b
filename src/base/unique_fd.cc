#include "base/unique_fd.h"

#include <sys/eventfd.h>
#include <sys/uio.h>

#include "base/kernel_signal.h"

namespace bellhop {

Result<EventFd> EventFd::create() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.valid()) return fail_errno("cannot create an eventfd");
  return EventFd(std::move(fd));
}

Result<EventFd> EventFd::adopt(UniqueFd fd) {
  EventFd event(std::move(fd));
  if (auto shared = event.share(); !shared) return forward(shared);
  return event;
}

Result<int> EventFd::share() const {
  const auto kernel = KernelSignal::get();
  if (!kernel) return forward(kernel);
  shared_.store(*kernel, std::memory_order_release);
  return fd_.get();
}

void EventFd::signal() const noexcept {
  if (const KernelSignal* const kernel = shared_.load(std::memory_order_acquire)) {
    kernel->signal(fd_.get());
    return;
  }
  const std::uint64_t one = 1;
  while (::write(fd_.get(), &one, sizeof one) < 0 && errno == EINTR) {
  }
}

std::uint64_t EventFd::consume() const noexcept {
  std::uint64_t count = 0;
  const iovec room{.iov_base = &count, .iov_len = sizeof count};
  ssize_t got = 0;
  do {
    got = shared() ? ::preadv2(fd_.get(), &room, 1, -1, RWF_NOWAIT)
                   : ::read(fd_.get(), &count, sizeof count);
  } while (got < 0 && errno == EINTR);
  return got == static_cast<ssize_t>(sizeof count) ? count : 0;
}

}  // namespace bellhop
