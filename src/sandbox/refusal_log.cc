#include "sandbox/refusal_log.h"

#include <fmt/format.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "base/poll.h"
#include "sandbox/refusal.h"
#include "sandbox/system_calls.h"

namespace bellhop::sandbox {

Result<RefusalLog*> RefusalLog::start() {
  ::seccomp_notif_sizes sizes{};
  if (::syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0) {
    return fail_errno("this kernel cannot tell of refused calls");
  }
  auto* const log = new RefusalLog();
  log->notice_.resize(std::max<std::size_t>(sizes.seccomp_notif, sizeof(::seccomp_notif)));
  log->response_.resize(
      std::max<std::size_t>(sizes.seccomp_notif_resp, sizeof(::seccomp_notif_resp)));
  (void)call_name(0);
  auto changed = EventFd::create();
  if (changed) log->changed_ = std::move(*changed);
  auto thread = changed ? start_thread(ThreadKind::kOther, "--seccomp log", [log] { log->run(); })
                        : Result<std::thread>(forward(changed));
  if (!thread) {
    delete log;
    return forward(thread);
  }
  thread->detach();
  return log;
}

void RefusalLog::add(UniqueFd listener, ThreadKind kind) {
  const std::lock_guard hold(mutex_);
  added_.push_back({std::move(listener), kind});
  changed_.signal();
}

void RefusalLog::run() {
  std::vector<Listener> listeners;
  std::vector<pollfd> fds;
  while (true) {
    fds.assign(1, {.fd = changed_.get(), .events = POLLIN, .revents = 0});
    for (const Listener& one : listeners) {
      fds.push_back({.fd = one.fd.get(), .events = POLLIN, .revents = 0});
    }
    wait_ready(fds, -1);
    for (std::size_t i = listeners.size(); i-- > 0;) {
      const short ready = fds[i + 1].revents;
      if (ready == 0) continue;
      const bool goes_on = (ready & POLLIN) != 0 && answer(listeners[i]);
      if (!goes_on) listeners.erase(listeners.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (fds.front().revents == 0) continue;
    (void)changed_.consume();
    const std::lock_guard hold(mutex_);
    std::ranges::move(added_, std::back_inserter(listeners));
    added_.clear();
  }
}

bool RefusalLog::answer(const Listener& listener) {
  std::ranges::fill(notice_, std::byte{0});
  std::ranges::fill(response_, std::byte{0});
  auto& notice = *reinterpret_cast<::seccomp_notif*>(notice_.data());
  auto& response = *reinterpret_cast<::seccomp_notif_resp*>(response_.data());
  if (::ioctl(listener.fd.get(), SECCOMP_IOCTL_NOTIF_RECV, &notice) != 0) {
    return errno == EINTR || errno == ENOENT;  // ENOENT: its thread was killed meanwhile
  }
  tell(listener.kind, notice.data.nr);
  response.id = notice.id;
  response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  (void)::ioctl(listener.fd.get(), SECCOMP_IOCTL_NOTIF_SEND, &response);
  return true;
}

void RefusalLog::tell(ThreadKind kind, int number) {
  if (!told_.emplace(kind, number).second) return;
  const std::string line =
      fmt::format("bellhop: seccomp: a thread of kind {}: system call {} ({}) would be refused\n",
                  name_of(kind), number, call_name(number));
  (void)!::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace bellhop::sandbox
