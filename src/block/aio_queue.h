#pragma once

#include <linux/aio_abi.h>

#include <vector>

#include "block/file_queue.h"

namespace bellhop {

/// Reads, writes and flushes by linux-aio, always with O_DIRECT: without it io_submit() would wait.
///
/// The completion ring that the kernel maps into the process is read there, without a system call.
/// Each request signals event() when it finishes; the kernel cannot be told to leave that out for
/// those that submit() reaps at once, but on a device these are few.
class AioQueue final : public FileQueue {
 public:
  /// With a context among its parts. Errors: FileQueue::watch_event().
  static Result<std::unique_ptr<BlockQueue>> create(Setup setup);

 private:
  struct Ring;

  explicit AioQueue(Setup setup);

  [[nodiscard]] bool takes(const BlockIo& io) const noexcept override;
  bool submit_pending() noexcept override;
  void reap_engine() noexcept override;

  void prepare(BlockIo& io) noexcept;
  void finished(const ::io_event& event) noexcept;
  void refused(BlockIo& io, int error) noexcept;
  void reap_by_system_call() noexcept;

  Ring* ring_ = nullptr;  // null if it does not look as we know it
  bool can_flush_ = true;
  unsigned room_ = 0;  // requests that the context takes at once
  unsigned in_flight_ = 0;
  std::vector<::iocb*> batch_;
};

}  // namespace bellhop
