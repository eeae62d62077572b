#include "base/kernel_signal.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

namespace bellhop {

namespace {

/// Tries before a signal counts as undeliverable: the kernel is out of memory.
constexpr int kMaxTries = 100;

}  // namespace

Result<const KernelSignal*> KernelSignal::get() {
  static std::mutex making;
  // Never destroyed: events of all kinds may be signalled until the process has ended.
  static const KernelSignal* made = nullptr;
  const std::lock_guard<std::mutex> hold(making);
  if (made != nullptr) return made;
  auto* const one = new KernelSignal;
  if (auto opened = one->open(); !opened) {
    delete one;
    return forward(opened);
  }
  made = one;
  return made;
}

Status KernelSignal::open() {
  file_ = UniqueFd(::memfd_create("bellhop-signal", MFD_CLOEXEC));
  if (!file_.valid()) return fail_errno("cannot make a file in memory");
  auto event = EventFd::create();
  if (!event) return forward(event);
  event->signal();
  std::uint64_t count = 0;
  const iovec room{.iov_base = &count, .iov_len = sizeof count};
  if (::preadv2(event->get(), &room, 1, -1, RWF_NOWAIT) != static_cast<ssize_t>(sizeof count)) {
    return fail_errno("this kernel cannot read an eventfd without waiting (Linux 5.8 can)");
  }
  while (count_ < kMaxWays && ::syscall(SYS_io_setup, 1, &ways_[count_].context) == 0) ++count_;
  if (count_ == 0) {
    return fail_errno(
        "signals to another process need a context of Linux AIO (/proc/sys/fs/aio-max-nr)");
  }
  return {};
}

void KernelSignal::signal(int event) const noexcept {
  static std::atomic<unsigned> threads{0};
  static thread_local const unsigned thread = threads.fetch_add(1, std::memory_order_relaxed);
  Way& way = ways_[thread % count_];
  const std::lock_guard<std::mutex> hold(way.mutex);
  ::iocb request{};
  request.aio_lio_opcode = IOCB_CMD_PREAD;
  request.aio_fildes = static_cast<std::uint32_t>(file_.get());
  request.aio_flags = IOCB_FLAG_RESFD;
  request.aio_resfd = static_cast<std::uint32_t>(event);
  ::iocb* requests[] = {&request};
  for (int i = 0; i < kMaxTries; ++i) {
    const long taken = ::syscall(SYS_io_submit, way.context, 1L, requests);
    if (taken == 1) break;
    if (errno != EAGAIN && errno != EINTR) return;  // no eventfd
  }
  // It has ended already; makes room for the next.
  ::io_event end{};
  timespec no_time{};
  (void)::syscall(SYS_io_getevents, way.context, 0L, 1L, &end, &no_time);
}

}  // namespace bellhop
