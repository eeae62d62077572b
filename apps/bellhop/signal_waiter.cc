#include "apps/bellhop/signal_waiter.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <utility>

#include "base/poll.h"
#include "base/thread.h"

namespace bellhop {

namespace {

sigset_t awaited_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGWINCH}) {
    // An ignored one that is blocked would reach the signalfd all the same.
    struct sigaction action {};
    const bool ignored = ::sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
    if (!ignored) sigaddset(&set, signal);
  }
  return set;
}

}  // namespace

void SignalWaiter::block_signals() {
  const sigset_t set = awaited_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);  // a reader of ours that goes away is an error, not our end
}

Result<std::unique_ptr<SignalWaiter>> SignalWaiter::start(Hooks hooks) {
  std::unique_ptr<SignalWaiter> waiter(new SignalWaiter(std::move(hooks)));
  const sigset_t set = awaited_signals();
  waiter->signals_ = UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!waiter->signals_.valid()) return fail_errno("signals cannot be awaited");
  auto end = EventFd::create();
  if (!end) return forward(end);
  waiter->end_ = std::move(*end);
  auto thread = start_thread("signals", [self = waiter.get()] { self->wait(); });
  if (!thread) return forward(thread);
  waiter->thread_ = std::move(*thread);
  return waiter;
}

SignalWaiter::~SignalWaiter() { finish(); }

int SignalWaiter::finish() {
  if (thread_.joinable()) {
    end_.signal();
    thread_.join();
  }
  return signal_.load();
}

void SignalWaiter::wait() {
  while (true) {
    pollfd fds[2] = {{signals_.get(), POLLIN, 0}, {end_.get(), POLLIN, 0}};
    wait_ready(fds, -1);
    signalfd_siginfo info{};
    if (fds[0].revents != 0 &&
        ::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      const int signal = static_cast<int>(info.ssi_signo);
      if (signal == SIGWINCH) {
        hooks_.resized();
        continue;
      }
      if (signal_.exchange(signal) != 0) {
        hooks_.give_up();
        ::_exit(128 + signal);
      }
      hooks_.stop();
    }
    if (fds[1].revents != 0) return;
  }
}

}  // namespace bellhop
