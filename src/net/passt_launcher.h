#pragma once

#include <sys/types.h>

#include <memory>

#include "base/result.h"
#include "base/unique_fd.h"
#include "net/passt_child.h"

namespace bellhop {

/// A process that starts passt for a machine whose own threads may start no program any more
/// (docs/sandbox.md). It has nothing of the machine's but the socket by which it is asked, does
/// nothing else, and ends with this, or when the machine has gone in another way.
///
/// One at a time in a process.
class PasstLauncher {
 public:
  /// Forks it: while there is one thread. Null: passt is not installed here. Errors: the host gives
  /// no process, or no socket.
  static Result<std::unique_ptr<PasstLauncher>> start();
  ~PasstLauncher();
  PasstLauncher(const PasstLauncher&) = delete;
  PasstLauncher& operator=(const PasstLauncher&) = delete;

  /// Has the one that there is do run_passt(). The main thread alone. Errors: also that there is
  /// none, or that it does not answer.
  static Result<RunningPasst> run(const PasstSource& source);

 private:
  PasstLauncher(pid_t pid, UniqueFd socket);

  [[nodiscard]] Result<RunningPasst> ask(const PasstSource& source) const;

  const pid_t pid_;
  const UniqueFd socket_;
};

}  // namespace bellhop
