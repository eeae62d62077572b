#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "base/result.h"

namespace bellhop {

enum class LockKind : std::uint8_t {
  kShared,     ///< we read: others may, nobody writes
  kExclusive,  ///< we write: nobody else does, and nobody reads who relies on that
};

/// What is done where a file system has no locks.
enum class LockNeed : std::uint8_t { kMust, kWarn };

/// A lock on an open file against other open file descriptions (F_OFD_SETLK), of the bytes that
/// QEMU's image locking uses (qemu, "image locking" in docs/system/images; block/file-posix.c), so
/// that each program sees what the other does. Byte 100 + p is locked, shared, by who has the
/// permission p to the file, byte 200 + p by who keeps others from having it; p is 0 to read, 1 to
/// write. Locks of other bytes than these mean nothing, but for one of the whole file.
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

  /// `fd` must outlive the lock; it can be read. Errors: another lock is against it, named
  /// with process id where that can be found out; a file system without locks that must have them.
  static Result<FileLock> take(int fd, const std::string& path, LockKind kind, LockNeed need);
  /// Whether nobody has any lock on a file that is to be emptied. Errors: as above.
  static Status check_free(int fd, const std::string& path);

 private:
  explicit FileLock(int fd) noexcept : fd_(fd) {}

  int fd_ = -1;
};

}  // namespace bellhop
