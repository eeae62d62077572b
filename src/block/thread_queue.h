#pragma once

#include "block/file_queue.h"

namespace bellhop {

/// Everything by the workers.
class ThreadQueue final : public FileQueue {
 public:
  static Result<std::unique_ptr<BlockQueue>> create(Setup setup) {
    std::unique_ptr<ThreadQueue> queue(new ThreadQueue(std::move(setup)));
    if (auto watched = queue->watch_event(); !watched) return forward(watched);
    return queue;
  }

 private:
  explicit ThreadQueue(Setup setup) noexcept : FileQueue(std::move(setup)) {}
  [[nodiscard]] bool takes(const BlockIo&) const noexcept override { return false; }
  bool submit_pending() noexcept override { return false; }
  void reap_engine() noexcept override {}
};

}  // namespace bellhop
