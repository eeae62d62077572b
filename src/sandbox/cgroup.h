#pragma once

#include <sys/types.h>

#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace bellhop::sandbox {

/// A file of a cgroup and what is written to it: {"memory.max", "1G"}.
struct CgroupValue {
  std::string file;
  std::string value;
};

/// A cgroup (version 2) for one process and those that it starts. It goes with its owner, with
/// whatever is still in it.
class Cgroup {
 public:
  /// Makes `name` below `parent`, a path below the root of all cgroups, which is made where it is
  /// not there, and stays; empty: below this process's own. One of that name in which nothing runs
  /// is taken over. Controllers that `values` need are switched on for the parent's children, and
  /// on the way from the root to it; if that is this process's own, which may have no processes
  /// then, it moves to a child of it first. Errors: no version 2, a file or controller that is not
  /// there, a parent that is others' or has other processes.
  static Result<Cgroup> create(const std::string& name, const std::string& parent,
                               std::span<const CgroupValue> values);
  Cgroup(Cgroup&& other) noexcept;
  Cgroup& operator=(Cgroup&&) = delete;
  ~Cgroup();

  /// Moves a process into it.
  [[nodiscard]] Status take(pid_t process) const;
  /// Of a process that was forked off: the other one has it alone.
  void leave_to_other() noexcept {
    folder_.clear();
    left_.clear();
  }
  [[nodiscard]] const std::string& folder() const noexcept { return folder_; }

 private:
  Cgroup() = default;
  /// For the children of this process's own cgroup.
  Status enable_in_own(const std::set<std::string>& controllers);
  /// Moves this process to a child of its own cgroup.
  Status leave_own();

  std::vector<std::string> parents_;  ///< made for one that is not made yet
  std::string parent_;
  std::string folder_;
  std::string left_;     ///< where this process has moved to; empty: it has not
  std::string enabled_;  ///< controllers that were switched on for that: "memory pids"
};

}  // namespace bellhop::sandbox
