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
  /// Errors: no context to be had (/proc/sys/fs/aio-max-nr).
  static Result<std::unique_ptr<BlockQueue>> create(const Setup& setup);
  ~AioQueue() override;

 private:
  struct Ring;

  explicit AioQueue(const Setup& setup) noexcept : FileQueue(setup) {}
  Status open_context(unsigned depth);

  [[nodiscard]] bool takes(const BlockIo& io) const noexcept override;
  bool submit_pending() noexcept override;
  void reap_engine() noexcept override;

  void prepare(BlockIo& io) noexcept;
  void finished(const ::io_event& event) noexcept;
  void refused(BlockIo& io, int error) noexcept;
  void reap_by_system_call() noexcept;

  aio_context_t context_ = 0;
  Ring* ring_ = nullptr;  // null if it does not look as we know it
  bool can_flush_ = true;
  unsigned room_ = 0;  // requests that the context takes at once
  unsigned in_flight_ = 0;
  std::vector<::iocb*> batch_;
};

}  // namespace bellhop
