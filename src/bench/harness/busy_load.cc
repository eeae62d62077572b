#include "bench/harness/busy_load.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace bellhop::bench {

namespace {

/// In the child: system calls only, since other threads may have held any lock.
[[noreturn]] void compute(pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(127);
  ::setpgid(0, 0);  // Ctrl-C is for us: we end it
  (void)::close_range(0, ~0U, 0);
  ::prctl(PR_SET_NAME, "bellhop-busy");
  for (volatile unsigned turn = 0;;) turn = turn + 1;
}

}  // namespace

Result<BusyLoad> BusyLoad::start(unsigned processes) {
  BusyLoad load;
  load.pids_.reserve(processes);
  const pid_t parent = ::getpid();
  for (unsigned i = 0; i < processes; ++i) {
    const pid_t pid = ::fork();
    if (pid < 0) return fail_errno("cannot start a process");
    if (pid == 0) compute(parent);
    load.pids_.push_back(pid);
  }
  return load;
}

BusyLoad::~BusyLoad() {
  for (const pid_t pid : pids_) ::kill(pid, SIGKILL);
  for (const pid_t pid : pids_) {
    while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
}

}  // namespace bellhop::bench
