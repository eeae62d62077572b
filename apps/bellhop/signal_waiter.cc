#include "apps/bellhop/signal_waiter.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
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
  auto thread =
      start_thread(ThreadKind::kSignals, "signals", [self = waiter.get()] { self->wait(); });
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
    wait_ready(fds, time_left());
    signalfd_siginfo info{};
    if (fds[0].revents != 0 &&
        ::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      take(static_cast<int>(info.ssi_signo));
    }
    if (fds[1].revents != 0) return;
    CleanStop* const clean = hooks_.clean_stop;
    if (clean != nullptr && clean->look(CleanStop::Clock::now())) {
      signal_ = clean->signal();
      hooks_.stop();
    }
  }
}

void SignalWaiter::take(int signal) {
  if (signal == SIGWINCH) return hooks_.resized();
  if (signal == SIGHUP && hooks_.hung_up) return hooks_.hung_up();
  CleanStop* const clean = hooks_.clean_stop;
  const auto now = CleanStop::Clock::now();
  if (signal_.load() == 0 && clean != nullptr && !clean->take(signal, now)) return;
  if (signal_.load() != 0) {
    if (now - stopped_ < CleanStop::kOneSignal) return;
    hooks_.give_up();
    ::_exit(128 + signal);
  }
  signal_ = signal;
  stopped_ = now;
  hooks_.stop();
}

int SignalWaiter::time_left() const {
  const auto next = hooks_.clean_stop == nullptr ? std::nullopt : hooks_.clean_stop->next();
  if (!next) return -1;
  // Rounded up: what is looked for too early is not there yet.
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*next - CleanStop::Clock::now());
  constexpr std::chrono::milliseconds::rep kAMinute = 60'000;
  return static_cast<int>(std::clamp<std::chrono::milliseconds::rep>(left.count(), 0, kAMinute));
}

}  // namespace bellhop
