#include "block/uring_queue.h"

#include <algorithm>
#include <atomic>

namespace bellhop {

Result<std::unique_ptr<BlockQueue>> UringQueue::create(Setup setup) {
  std::unique_ptr<UringQueue> queue(new UringQueue(std::move(setup)));
  if (auto watched = queue->watch_event(); !watched) return forward(watched);
  return queue;
}

UringQueue::UringQueue(Setup setup)
    : FileQueue(std::move(setup)), has_own_(uses_own_ring(sharing(), loop().kind())) {
  QueueRing* const own = parts().ring.get();
  ring_ = has_own_ ? &own->ring() : loop().uring();
  slot_ = has_own_ ? own->slot() : loop().register_file(file().fd());
}

UringQueue::~UringQueue() {
  loop().cancel_deferred(*this);
  if (!has_own_ && slot_ >= 0) loop().unregister_file(slot_);
}

bool UringQueue::takes(const BlockIo& io) const noexcept {
  return io.op == BlockOp::kRead || io.op == BlockOp::kWrite || io.op == BlockOp::kFlush;
}

::io_uring_sqe* UringQueue::get_sqe() noexcept {
  ::io_uring_sqe* sqe = ::io_uring_get_sqe(ring_);
  if (sqe == nullptr) {
    ++system_calls_;
    ::io_uring_submit(ring_);
    sqe = ::io_uring_get_sqe(ring_);
  }
  return sqe;
}

void UringQueue::prepare(::io_uring_sqe& sqe, BlockIo& io) const noexcept {
  const int fd = slot_ >= 0 ? slot_ : file().fd();
  if (io.op == BlockOp::kFlush) {
    ::io_uring_prep_fsync(&sqe, fd, IORING_FSYNC_DATASYNC);
  } else {
    const bool read = io.op == BlockOp::kRead;
    const TransferStep step = next_step(io);
    if (step.count == 0) {
      // READ and WRITE carry 32 bits of length; a longer piece becomes several steps.
      const auto length =
          static_cast<unsigned>(std::min<std::size_t>(step.single.iov_len, std::size_t{1} << 30));
      if (read) {
        ::io_uring_prep_read(&sqe, fd, step.single.iov_base, length, step.offset);
      } else {
        ::io_uring_prep_write(&sqe, fd, step.single.iov_base, length, step.offset);
      }
    } else if (read) {
      ::io_uring_prep_readv(&sqe, fd, step.vector, step.count, step.offset);
    } else {
      ::io_uring_prep_writev(&sqe, fd, step.vector, step.count, step.offset);
    }
  }
  if (slot_ >= 0) sqe.flags |= IOSQE_FIXED_FILE;
  io.done = &on_done;
  io.scratch.queue = const_cast<UringQueue*>(this);
  ::io_uring_sqe_set_data(&sqe, static_cast<IoOp*>(&io));
}

bool UringQueue::submit_pending() noexcept {
  bool progress = false;
  while (!pending().empty()) {
    ::io_uring_sqe* const sqe = get_sqe();
    if (sqe == nullptr) break;
    prepare(*sqe, *pending().pop());
    ++in_flight_;
    progress = true;
  }
  // A loop that has not run yet cannot submit early: once more when it does.
  if (!has_own_ && !pending().empty()) loop().defer(*this);
  if (has_own_ && progress) enter();
  return progress;
}

void UringQueue::enter() noexcept {
  ::io_uring_cq_eventfd_toggle(ring_, false);
  ++system_calls_;
  ::io_uring_submit(ring_);
  reap_ring();
  ::io_uring_cq_eventfd_toggle(ring_, true);
  if (in_flight_ == 0) return;
  // The kernel was short of something and left requests in the submission queue: once more, soon.
  if (::io_uring_sq_ready(ring_) != 0) event().signal();
  // What finished before the kernel saw the event switched on again has signalled nobody. A full
  // fence keeps the look below after the switch; the kernel fences between posting a completion and
  // looking at the switch.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  reap_ring();
}

void UringQueue::reap_engine() noexcept {
  if (!has_own_) return;
  reap_ring();
  if (::io_uring_sq_ready(ring_) != 0) enter();
}

void UringQueue::reap_ring() noexcept {
  ::io_uring_cqe* cqe = nullptr;
  while (::io_uring_peek_cqe(ring_, &cqe) == 0) {
    auto& io = static_cast<BlockIo&>(*static_cast<IoOp*>(::io_uring_cqe_get_data(cqe)));
    const int result = cqe->res;
    ::io_uring_cqe_seen(ring_, cqe);
    --in_flight_;
    stepped(io, result);
  }
}

/// On the loop's ring: the loop calls.
void UringQueue::on_done(IoOp& op, int result) noexcept {
  auto& io = static_cast<BlockIo&>(op);
  auto& queue = *static_cast<UringQueue*>(io.scratch.queue);
  --queue.in_flight_;
  queue.stepped(io, result);
  // `io` may be gone. A next step, or what the completion enqueued, goes along.
  if (queue.has_work()) queue.submit();
}

}  // namespace bellhop
