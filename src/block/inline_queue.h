#pragma once

#include "block/file_queue.h"

namespace bellhop {

/// Reads and writes on a file system that lies in memory, by preadv and pwritev in submit(), for
/// aio=io_uring and aio=native.
///
/// No read or write waits for a device there, so nothing is gained by asking asynchronously, and
/// something is lost. io_uring, to which such files cannot promise not to wait, hands each request
/// to a kernel thread: 6 us of CPU for 4 KiB where pread takes 1.5. io_submit takes 1.8 in batches
/// of 16 and 2.4 one by one (tests/bench/block_bench.cc).
class InlineQueue final : public FileQueue {
 public:
  static Result<std::unique_ptr<BlockQueue>> create(Setup setup);

 private:
  explicit InlineQueue(Setup setup) noexcept : FileQueue(std::move(setup)) {}
  [[nodiscard]] bool takes(const BlockIo& io) const noexcept override;
  /// A few, for the system calls; all of a batch would keep the driver waiting for its last.
  [[nodiscard]] std::uint64_t joint_bytes() const noexcept override {
    return std::uint64_t{16} << 10;
  }
  bool submit_pending() noexcept override;
  void reap_engine() noexcept override {}
};

}  // namespace bellhop
