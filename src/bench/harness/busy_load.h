#pragma once

#include <sys/types.h>

#include <vector>

#include "base/result.h"

namespace bellhop::bench {

/// Processes of ours that compute and never sleep, for as long as this object lives: what else runs
/// on a host that has more to do than a machine. They have nothing of this process open, and end
/// with it, whatever ends it.
class BusyLoad {
 public:
  /// Errors: the host has no process left.
  static Result<BusyLoad> start(unsigned processes);
  BusyLoad(BusyLoad&& other) noexcept = default;
  BusyLoad& operator=(BusyLoad&&) = delete;
  ~BusyLoad();

  [[nodiscard]] const std::vector<pid_t>& pids() const noexcept { return pids_; }

 private:
  BusyLoad() = default;

  std::vector<pid_t> pids_;
};

}  // namespace bellhop::bench
