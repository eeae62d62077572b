#pragma once

#include "block/file_queue.h"

namespace bellhop {

/// Reads and writes on a file system that lies in memory, by preadv and pwritev in submit().
///
/// Nothing is gained there by asking asynchronously: no read or write waits for a device, and
/// io_uring, to which such files cannot promise that, hands each request to a kernel thread.
class InlineQueue final : public FileQueue {
 public:
  static Result<std::unique_ptr<BlockQueue>> create(const Setup& setup);

 private:
  explicit InlineQueue(const Setup& setup) noexcept : FileQueue(setup) {}
  [[nodiscard]] bool takes(const BlockIo& io) const noexcept override;
  bool submit_pending() noexcept override;
  void reap_engine() noexcept override {}
};

}  // namespace bellhop
