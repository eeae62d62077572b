#pragma once

#include "block/file_queue.h"

namespace bellhop {

/// Everything by the workers.
class ThreadQueue final : public FileQueue {
 public:
  static Result<std::unique_ptr<BlockQueue>> create(const Setup& setup) {
    std::unique_ptr<ThreadQueue> queue(new ThreadQueue(setup));
    if (auto opened = queue->open_event(); !opened) return forward(opened);
    return queue;
  }

 private:
  explicit ThreadQueue(const Setup& setup) noexcept : FileQueue(setup) {}
  [[nodiscard]] bool takes(const BlockIo&) const noexcept override { return false; }
  bool submit_pending() noexcept override { return false; }
  void reap_engine() noexcept override {}
};

}  // namespace bellhop
