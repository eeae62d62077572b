#include "apps/bellhop/signal_waiter.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <utility>

namespace bellhop {

namespace {

sigset_t awaited_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGWINCH}) sigaddset(&set, signal);
  return set;
}

}  // namespace

void SignalWaiter::block_signals() {
  const sigset_t set = awaited_signals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);  // a reader of ours that goes away is an error, not our end
}

SignalWaiter::SignalWaiter(Hooks hooks) : hooks_(std::move(hooks)) {
  const sigset_t set = awaited_signals();
  signals_ = UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC));
  end_ = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  thread_ = std::thread([this] { wait(); });
}

SignalWaiter::~SignalWaiter() { finish(); }

int SignalWaiter::finish() {
  if (thread_.joinable()) {
    ::eventfd_write(end_.get(), 1);
    thread_.join();
  }
  return signal_.load();
}

void SignalWaiter::wait() {
  while (true) {
    pollfd fds[2] = {{signals_.get(), POLLIN, 0}, {end_.get(), POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0) continue;
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
