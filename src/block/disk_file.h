#pragma once

#include <string>

#include "base/file_lock.h"
#include "base/unique_fd.h"
#include "block/block_backend.h"
#include "block/block_source.h"

namespace bellhop {

/// An open image, what is known of it, and the operations on it that block. Immutable once open
/// (but for its size), hence free to share between threads.
class DiskFile {
 public:
  /// Opens, locks and measures. Errors as open_raw_file() says.
  static Result<DiskFile> open(const RawFileSource& source);

  [[nodiscard]] int fd() const noexcept { return fd_.get(); }
  [[nodiscard]] const BlockLimits& limits() const noexcept { return limits_; }
  /// As BlockBackend::measure().
  [[nodiscard]] Result<std::uint64_t> measure() const;
  /// As Resizable::resize(): to be called by one thread at a time. It only grows, and a block
  /// device has done so by its own means before.
  [[nodiscard]] Status grow(std::uint64_t bytes) const;
  /// On tmpfs and its kin: reads and writes never wait for a device.
  [[nodiscard]] bool in_memory() const noexcept { return in_memory_; }
  /// Whether a request is for part of a block of the medium's, which O_DIRECT cannot do: only
  /// execute() does it, through the host's page cache, which reads and writes the rest of the block
  /// and orders it against all others.
  [[nodiscard]] bool splits_block(const BlockIo& io) const noexcept {
    return through_cache_.valid() && ((io.offset | io.length) & (length_align_ - 1)) != 0;
  }
  /// O_DIRECT is in force and some piece of the data does not lie as it demands.
  [[nodiscard]] bool needs_bounce(const BlockIo& io) const noexcept;

  /// Does the whole request and waits for it. Returns 0 or -errno. `io.scratch` has been prepared
  /// by transfer.h.
  int execute(BlockIo& io) const noexcept;
  /// One more step of a read or write: bytes moved, or -errno.
  int execute_step(BlockIo& io) const noexcept;

 private:
  DiskFile() = default;
  Status lock(const RawFileSource& source);
  Status find_limits(const RawFileSource& source);
  /// What `block-size=` asks for instead of the medium's `limits_.logical_block`.
  Status set_block_size(const RawFileSource& source);
  [[nodiscard]] int fd_for(const BlockIo& io) const noexcept {
    return splits_block(io) ? through_cache_.get() : fd_.get();
  }
  int discard(std::uint64_t offset, std::uint64_t length) const noexcept;
  int write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap) const noexcept;
  static int write_out_zeroes(int fd, std::uint64_t offset, std::uint64_t length) noexcept;

  UniqueFd fd_;
  FileLock lock_;  // goes before the descriptor
  /// The same without O_DIRECT, where the guest's blocks are smaller than the medium's.
  UniqueFd through_cache_;
  UniqueFd claim_;  // of a block device that is written
  BlockLimits limits_;
  std::uint32_t memory_align_ = 1;  // bytes; only with O_DIRECT
  std::uint32_t length_align_ = 1;
  bool block_device_ = false;
  bool in_memory_ = false;
};

}  // namespace bellhop
