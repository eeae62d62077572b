#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop {

/// Characters that a Unix socket's path may have.
inline constexpr std::size_t kMaxUnixPath = 107;

/// A stream socket that does not block; invalid if the process has no descriptor left (errno).
[[nodiscard]] UniqueFd make_unix_socket() noexcept;
/// 0 or an errno value. A Unix socket is connected at once or not at all: EAGAIN is a full backlog.
[[nodiscard]] int connect_unix(int socket, std::string_view path) noexcept;

/// A socket that listens, and its file. The file is removed at the end, unless another process has
/// put another one in its place.
class UnixListener {
 public:
  /// Takes the place of a socket whose program has ended. Errors, without the path: it has no
  /// character or too many, another process listens there, something else is there, it cannot be
  /// made.
  /// `mode`: who may connect, less what the umask takes; without, whoever the umask lets.
  static Result<UnixListener> listen(const std::string& path, std::optional<mode_t> mode = {});
  /// A socket that was made elsewhere and listens already, a service manager's for example; no file
  /// is removed. Errors: it is no such socket.
  static Result<UnixListener> adopt(UniqueFd socket);
  /// The same, by the descriptor's number as an option has it: take_inherited_fd().
  static Result<UnixListener> adopt(std::string_view number);
  UnixListener(UnixListener&& other) noexcept = default;
  UnixListener& operator=(UnixListener&& other) = delete;
  ~UnixListener();

  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// The next client, which does not block either; invalid if there is none.
  [[nodiscard]] UniqueFd accept() const noexcept;

 private:
  UnixListener(UniqueFd socket, std::string path) noexcept
      : socket_(std::move(socket)), path_(std::move(path)) {}

  UniqueFd socket_;  ///< not valid: moved from
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
};

}  // namespace bellhop
