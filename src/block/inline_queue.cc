#include "block/inline_queue.h"

namespace bellhop {

Result<std::unique_ptr<BlockQueue>> InlineQueue::create(Setup setup) {
  std::unique_ptr<InlineQueue> queue(new InlineQueue(std::move(setup)));
  if (auto watched = queue->watch_event(); !watched) return forward(watched);
  return queue;
}

bool InlineQueue::takes(const BlockIo& io) const noexcept {
  // A flush has nothing to wait for either. Giving back or clearing gigabytes takes its time.
  return io.op == BlockOp::kRead || io.op == BlockOp::kWrite || io.op == BlockOp::kFlush;
}

bool InlineQueue::submit_pending() noexcept {
  while (BlockIo* const io = pending().pop()) {
    if (io->op == BlockOp::kFlush) {
      stepped(*io, 0);
    } else {
      ++system_calls_;
      stepped(*io, file().execute_step(*io));
    }
  }
  return true;
}

}  // namespace bellhop
