#pragma once

#include <liburing.h>

#include "block/file_queue.h"

namespace bellhop {

/// Reads, writes and flushes by io_uring.
///
/// For the loop's thread alone, on a loop that is an io_uring: requests go into the loop's own ring
/// and travel with its next submission. Otherwise the queue has a ring of its own, not bound to a
/// thread, whose completions signal event(); that is switched off while a thread is in here, which
/// sees them anyway. The kernel posts a completion on the thread that submitted: a vCPU thread in
/// KVM_RUN comes back from it with EINTR for that, and has only to go on. Linux-aio does not do so.
class UringQueue final : public FileQueue, private Task {
 public:
  /// On the ring among its parts or, without one, on the loop's. Errors: FileQueue::watch_event().
  static Result<std::unique_ptr<BlockQueue>> create(Setup setup);
  ~UringQueue() override;
  /// Whether a queue needs a ring among its parts.
  static bool uses_own_ring(QueueSharing sharing, LoopKind loop) noexcept {
    return sharing == QueueSharing::kSharedWithVcpu || loop == LoopKind::kEpoll;
  }

 private:
  explicit UringQueue(Setup setup);

  [[nodiscard]] bool takes(const BlockIo& io) const noexcept override;
  bool submit_pending() noexcept override;
  void reap_engine() noexcept override;
  void run() noexcept override { submit(); }

  ::io_uring_sqe* get_sqe() noexcept;
  void prepare(::io_uring_sqe& sqe, BlockIo& io) const noexcept;
  void enter() noexcept;
  void reap_ring() noexcept;
  static void on_done(IoOp& op, int result) noexcept;

  ::io_uring* ring_;  // the loop's, or own
  bool has_own_;
  int slot_;  // the file's in the ring's table, if registered
  unsigned in_flight_ = 0;
};

}  // namespace bellhop
