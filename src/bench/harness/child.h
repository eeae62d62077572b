#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop::bench {

/// A process that we started: its standard output comes line by line, its standard error is kept.
/// It dies with us, whatever ends us, and with this object.
class Child {
 public:
  using Clock = std::chrono::steady_clock;

  /// `files`: descriptors of ours and the numbers that they get there. Errors: no process, no such
  /// program.
  static Result<Child> spawn(const std::vector<std::string>& arguments,
                             const std::vector<std::pair<int, int>>& files);
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;
  ~Child();

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  /// The next line without its end; nothing when the child closed its output. Errors: `deadline`
  /// passed, or `interrupt` (may be invalid) was signalled.
  Result<std::optional<std::string>> read_line(Clock::time_point deadline,
                                               const EventFd& interrupt);
  /// Waits for its end, kills it at `deadline`. Returns the wait status.
  int wait(Clock::time_point deadline);
  /// The last line on its standard error.
  [[nodiscard]] std::string last_complaint() const;

 private:
  Child(pid_t pid, UniqueFd output, UniqueFd complaints) noexcept;

  pid_t pid_ = -1;
  UniqueFd output_;
  UniqueFd complaints_;  ///< memory file
  std::string buffer_;
};

}  // namespace bellhop::bench
