#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "block/block_backend.h"
#include "block/disk_file.h"

namespace bellhop {

/// Buffers for guest memory that does not lie as O_DIRECT demands. Pooled, of one size: a longer
/// request goes through its buffer piece by piece. A driver decides how many requests need one, so
/// their number is bounded: a request that gets none waits until one is given back. Used by one
/// thread at a time.
class BouncePool {
 public:
  static constexpr std::size_t kBufferBytes = std::size_t{256} << 10;
  static constexpr unsigned kMaxBuffers = 32;  ///< 8 MiB of a queue

  BouncePool() = default;
  ~BouncePool();
  BouncePool(const BouncePool&) = delete;
  BouncePool& operator=(const BouncePool&) = delete;

  /// Null if all are in use, or the host has no memory left.
  [[nodiscard]] void* take() noexcept;
  void give_back(void* buffer) noexcept;
  [[nodiscard]] unsigned in_use() const noexcept { return in_use_; }

 private:
  struct Free {
    Free* next;
  };
  Free* first_ = nullptr;
  unsigned in_use_ = 0;
};

/// What to ask the kernel for next: one piece (`single`) or, if `count` is not 0, a vector.
struct TransferStep {
  iovec single{nullptr, 0};
  const iovec* vector = nullptr;
  unsigned count = 0;
  std::uint64_t offset = 0;  ///< bytes from the disk's start
};

enum class TransferState { kDone, kMore };

/// Readies `io.scratch`. True: `file` cannot take the data as it lies, and the request needs a
/// bounce buffer, `io.scratch.bounce`, before its first step.
bool begin_transfer(BlockIo& io, const DiskFile& file) noexcept;
/// The step that is due, after begin_transfer() or a kMore. Copies into the bounce buffer when
/// writing. In the common case that is all of the request, in place.
TransferStep next_step(BlockIo& io) noexcept;
/// Takes a step's result (bytes, or -errno). After kDone, `io.scratch.error` is the outcome.
TransferState advance(BlockIo& io, int result) noexcept;
/// Gives the bounce buffer back.
void end_transfer(BlockIo& io, BouncePool& pool) noexcept;

}  // namespace bellhop
