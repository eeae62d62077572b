#pragma once

#include <string>
#include <utility>

#include "base/result.h"

namespace bellhop {

enum class LockKind { kShared, kExclusive };

/// A lock on the whole of an open file against other open file descriptions (F_OFD_SETLK).
class FileLock {
 public:
  FileLock() noexcept = default;
  FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileLock& operator=(FileLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  /// Unlocks. Closing the descriptor is not enough: a ring in which the file was registered may
  /// keep it open for a while after that.
  ~FileLock();

  /// `fd` must outlive the lock. A file system without locks is accepted with a warning. Errors:
  /// somebody else holds it, named with process id where that can be found out.
  static Result<FileLock> take(int fd, const std::string& path, LockKind kind);

 private:
  explicit FileLock(int fd) noexcept : fd_(fd) {}

  int fd_ = -1;
};

}  // namespace bellhop
