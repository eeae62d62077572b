#include "base/thread.h"

#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace bellhop {

namespace {

class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    // A fault is the thread's own; where its signal is blocked, the kernel ends the process
    // whatever handler there is (memory/fault_guard.h).
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

}  // namespace

Result<std::thread> start_thread(std::string_view what, std::function<void()> body) {
  const SignalsBlocked blocked;
  // std::thread can only report by an exception that there is none to be had.
  try {
    return std::thread(std::move(body));
  } catch (const std::system_error& problem) {
    const int code = problem.code().value();
    return fail_errno(fmt::format("cannot start the thread of {}{}", what,
                                  code == EAGAIN ? " (ulimit -u, pids.max)" : ""),
                      code);
  }
}

Status run_on_thread(std::string_view what, std::function<void()> body) {
  auto thread = start_thread(what, std::move(body));
  if (!thread) return forward(thread);
  thread->join();
  return {};
}

}  // namespace bellhop
