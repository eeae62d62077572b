#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "net/net_source.h"

namespace bellhop {

/// A process of passt's, and what it says about itself. It is ended with this. Not thread-safe.
class PasstChild {
 public:
  /// Its end of the socket, in the child.
  static constexpr int kSocket = 3;

  PasstChild() = default;
  /// One that another process has started: a descriptor of it (pidfd), and the file with its words.
  PasstChild(UniqueFd process, UniqueFd words) noexcept
      : process_(std::move(process)), words_(std::move(words)) {}
  PasstChild(PasstChild&& other) noexcept;
  PasstChild& operator=(PasstChild&&) = delete;
  ~PasstChild() { end(); }

  /// Errors: it is not installed; no memory, no process.
  Status start(const std::vector<std::string>& arguments, const UniqueFd& socket);
  /// True once it has ended, or before start().
  bool ended() noexcept;
  void end() noexcept;
  /// The last line that it wrote about a fault.
  [[nodiscard]] std::string last_words() const;

  /// What another process makes a PasstChild of. Invalid: it has ended.
  [[nodiscard]] const UniqueFd& process() const noexcept { return process_; }
  [[nodiscard]] const UniqueFd& words() const noexcept { return words_; }
  /// It goes on without this.
  void let_go() noexcept;

 private:
  pid_t pid_ = 0;     ///< of a child of ours
  UniqueFd process_;  ///< by which it alone can be signalled; invalid: it has gone already
  UniqueFd words_;
};

/// One that serves, and our end of its socket.
struct RunningPasst {
  UniqueFd socket;
  PasstChild child;
};

/// Starts passt and waits until it serves. Errors: as start_passt().
Result<RunningPasst> run_passt(const PasstSource& source);

}  // namespace bellhop
