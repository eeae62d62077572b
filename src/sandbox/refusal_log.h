#pragma once

#include <cstddef>
#include <mutex>
#include <set>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/thread.h"
#include "base/unique_fd.h"

namespace bellhop::sandbox {

/// Tells of system calls that the table does not have (--seccomp log) and lets them be made: one
/// line for each kind of thread and call. The kernel's own log of them is for root, and not
/// everywhere.
///
/// The kernel stops a thread that makes such a call until it is answered (seccomp's user
/// notification), on a thread that is not confined. That one goes on until the process has ended:
/// without it the calls would fail.
class RefusalLog {
 public:
  /// Never destroyed. Errors: no thread or descriptor left.
  static Result<RefusalLog*> start();
  RefusalLog(const RefusalLog&) = delete;
  RefusalLog& operator=(const RefusalLog&) = delete;

  /// Hears of the calls of a thread of `kind` at `listener`. Any thread.
  void add(UniqueFd listener, ThreadKind kind);

 private:
  struct Listener {
    UniqueFd fd;
    ThreadKind kind;
  };

  RefusalLog() = default;
  void run();
  /// False: it has nothing to say any more.
  bool answer(const Listener& listener);
  void tell(ThreadKind kind, int number);

  EventFd changed_;
  std::vector<std::byte> notice_;  ///< as large as this kernel makes them
  std::vector<std::byte> response_;
  std::set<std::pair<ThreadKind, int>> told_;

  std::mutex mutex_;
  std::vector<Listener> added_;
};

}  // namespace bellhop::sandbox
