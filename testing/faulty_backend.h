#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "block/block_backend.h"

namespace bellhop {

/// Stands before another back end and does to its requests what a test has told it: errors for the
/// next ones of a kind, or holding all of them back until the test lets them go. Requests without
/// such a fate pass through. The script may be written from any thread.
class FaultyBackend final : public BlockBackend {
 public:
  explicit FaultyBackend(std::unique_ptr<BlockBackend> inner);
  ~FaultyBackend() override;

  /// The next `count` requests of kind `op` end with `error` (-EIO, -ENOSPC) and do nothing. One
  /// that is held back meets its fate when it is let go.
  void fail_next(BlockOp op, int error, unsigned count = 1);
  /// Errors that have not come yet never will.
  void fail_no_more();
  /// From now on requests are held back.
  void hold();
  /// Lets the first `count` that are held by each queue go, in the order of their submission; later
  /// ones are still held.
  void release(std::size_t count);
  /// Lets all go and holds back no more.
  void release_all();

  /// Requests that wait for release().
  [[nodiscard]] std::size_t held() const;
  /// Requests of kind `op` that were submitted so far.
  [[nodiscard]] std::uint64_t submitted(BlockOp op) const;

  [[nodiscard]] const BlockLimits& limits() const noexcept override { return inner_->limits(); }
  [[nodiscard]] Result<std::uint64_t> measure() const override { return inner_->measure(); }
  [[nodiscard]] const char* kind() const noexcept override { return "faulty"; }
  Result<std::unique_ptr<BlockQueue>> make_queue(EventLoop& loop, QueueSharing sharing,
                                                 unsigned depth) override;

 private:
  class Queue;
  static constexpr std::size_t kOps = 5;

  int take_error(BlockOp op);  // under mutex_

  std::unique_ptr<BlockBackend> inner_;
  mutable std::mutex mutex_;
  std::array<std::deque<int>, kOps> errors_;
  std::array<std::uint64_t, kOps> submitted_{};
  bool holding_ = false;
  std::vector<Queue*> queues_;
};

}  // namespace bellhop
