#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "net/net_source.h"

namespace bellhop {

/// A process of passt's, and what it says about itself. It is ended with this. Not thread-safe.
///
/// Either a child of this process, or one that the launcher has started (net/passt_launcher.h).
/// That one is the launcher's to end: what is here is a lifeline, one end of a socket pair, and
/// passt may live as long as it is open. So it ends with a machine that may signal nobody, and with
/// one that was killed.
class PasstChild {
 public:
  /// How long it may take to end once its socket has.
  static constexpr std::chrono::milliseconds kEndPatience{500};
  /// Its end of the socket, in the child.
  static constexpr int kSocket = 3;

  PasstChild() = default;
  /// One that the launcher has started.
  explicit PasstChild(UniqueFd lifeline) noexcept : lifeline_(std::move(lifeline)) {}
  PasstChild(PasstChild&& other) noexcept;
  PasstChild& operator=(PasstChild&&) = delete;
  ~PasstChild() { end(); }

  /// Errors: it is not installed; no memory, no process.
  Status start(const std::vector<std::string>& arguments, const UniqueFd& socket);
  /// True once it has ended, or before start().
  bool ended() noexcept;
  /// Waits for its end, kEndPatience at most; then it is killed.
  void end() noexcept;
  /// The last line that it wrote about a fault; nothing of one that the launcher has started.
  [[nodiscard]] std::string last_words() const;

  /// Of a child of ours: readable when it has ended. Invalid: that was noticed already.
  [[nodiscard]] const UniqueFd& process() const noexcept { return process_; }
  /// A child of ours is killed. Its end is not waited for.
  void kill() noexcept;

 private:
  void let_go() noexcept;
  /// Has the launcher end it.
  void end_by_launcher() noexcept;

  pid_t pid_ = 0;     ///< of a child of ours
  UniqueFd process_;  ///< by which it alone can be signalled; invalid: it has gone already
  UniqueFd words_;
  UniqueFd lifeline_;  ///< of one that the launcher has started; invalid: it has been let go
};

/// One that serves, and our end of its socket.
struct RunningPasst {
  UniqueFd socket;
  PasstChild child;
};

/// Whether the other end of a stream pair has read all that it was sent, and is there. What an end
/// that closes throws away counts as read, so its end is looked for after that.
[[nodiscard]] bool has_read_all(const UniqueFd& socket) noexcept;

/// Starts passt and waits until it serves. Errors: as start_passt().
Result<RunningPasst> run_passt(const PasstSource& source);

}  // namespace bellhop
