#include "block/aio_queue.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>

namespace bellhop {

/// The head of the completion ring, as the kernel maps it (fs/aio.c: stable since 2.6, and relied
/// on by more than us). One reader: the thread that holds the queue.
struct AioQueue::Ring {
  static constexpr unsigned kMagic = 0xa10a10a1;
  static constexpr unsigned kCompatible = 1;

  unsigned id;
  unsigned size;  // events
  unsigned head;  // ours
  unsigned tail;  // the kernel's
  unsigned magic;
  unsigned compatible_features;
  unsigned incompatible_features;
  unsigned header_bytes;

  [[nodiscard]] const ::io_event& event(unsigned index) const noexcept {
    return reinterpret_cast<const ::io_event*>(this + 1)[index];
  }
};

namespace {

// What libaio wraps, less its conventions; its calls allocate nothing but add nothing either.
long io_submit(aio_context_t context, long count, ::iocb** requests) noexcept {
  const long taken = ::syscall(SYS_io_submit, context, count, requests);
  return taken < 0 ? -errno : taken;
}
/// What there is, without waiting.
long io_getevents(aio_context_t context, long most, ::io_event* events) noexcept {
  timespec no_time{};
  const long got = ::syscall(SYS_io_getevents, context, 0L, most, events, &no_time);
  return got < 0 ? -errno : got;
}

::iocb& iocb_of(BlockIo& io) noexcept {
  static_assert(sizeof(::iocb) <= sizeof io.scratch.control);
  return *reinterpret_cast<::iocb*>(io.scratch.control.data());
}

}  // namespace

Result<std::unique_ptr<BlockQueue>> AioQueue::create(Setup setup) {
  std::unique_ptr<AioQueue> queue(new AioQueue(std::move(setup)));
  if (auto watched = queue->watch_event(); !watched) return forward(watched);
  return queue;
}

AioQueue::AioQueue(Setup setup) : FileQueue(std::move(setup)), room_(parts().aio.depth()) {
  batch_.reserve(room_);
  auto* const ring = reinterpret_cast<Ring*>(parts().aio.id());  // NOLINT: a mapping's address
  if (ring->magic == Ring::kMagic && ring->compatible_features == Ring::kCompatible &&
      ring->incompatible_features == 0 && ring->header_bytes == sizeof(Ring)) {
    ring_ = ring;
  }
}

bool AioQueue::takes(const BlockIo& io) const noexcept {
  if (io.op == BlockOp::kFlush) return can_flush_;
  return io.op == BlockOp::kRead || io.op == BlockOp::kWrite;
}

void AioQueue::prepare(BlockIo& io) noexcept {
  ::iocb& control = *::new (io.scratch.control.data())::iocb{};
  control.aio_data = reinterpret_cast<std::uint64_t>(&io);
  control.aio_fildes = static_cast<std::uint32_t>(file().fd());
  control.aio_flags = IOCB_FLAG_RESFD;
  control.aio_resfd = static_cast<std::uint32_t>(event().get());
  if (io.op == BlockOp::kFlush) {
    control.aio_lio_opcode = IOCB_CMD_FDSYNC;
    return;
  }
  const bool read = io.op == BlockOp::kRead;
  const TransferStep step = next_step(io);
  control.aio_offset = static_cast<std::int64_t>(step.offset);
  if (step.count == 0) {
    control.aio_lio_opcode = read ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE;
    control.aio_buf = reinterpret_cast<std::uint64_t>(step.single.iov_base);
    control.aio_nbytes = step.single.iov_len;
  } else {
    control.aio_lio_opcode = read ? IOCB_CMD_PREADV : IOCB_CMD_PWRITEV;
    control.aio_buf = reinterpret_cast<std::uint64_t>(step.vector);
    control.aio_nbytes = step.count;
  }
}

bool AioQueue::submit_pending() noexcept {
  batch_.clear();
  while (in_flight_ + batch_.size() < room_) {
    BlockIo* const io = pending().pop();
    if (io == nullptr) break;
    prepare(*io);
    batch_.push_back(&iocb_of(*io));
  }
  bool progress = false;
  for (std::size_t next = 0; next < batch_.size();) {
    ++system_calls_;
    const long left = static_cast<long>(batch_.size() - next);
    const long taken = io_submit(parts().aio.id(), left, batch_.data() + next);
    if (taken > 0) {
      next += static_cast<std::size_t>(taken);
      in_flight_ += static_cast<unsigned>(taken);
      progress = true;
      continue;
    }
    // The first of the rest is refused. The kernel stops there, so the others are tried again.
    auto& io = *reinterpret_cast<BlockIo*>(batch_[next++]->aio_data);  // NOLINT: our own pointer
    refused(io, taken == 0 ? -EAGAIN : static_cast<int>(taken));
    progress = true;
  }
  return progress;
}

void AioQueue::refused(BlockIo& io, int error) noexcept {
  if (io.op == BlockOp::kFlush) {
    if (error == -EINVAL) can_flush_ = false;  // before 4.18
    give_to_workers(io);
  } else if (error == -EAGAIN || error == -ENOMEM) {
    give_to_workers(io);
  } else {
    stepped(io, error);
  }
}

void AioQueue::finished(const ::io_event& event) noexcept {
  --in_flight_;
  auto& io = *reinterpret_cast<BlockIo*>(event.data);  // NOLINT: our own pointer
  stepped(io, static_cast<int>(event.res));
}

void AioQueue::reap_engine() noexcept {
  if (in_flight_ == 0) return;
  if (ring_ == nullptr) return reap_by_system_call();
  std::atomic_ref<unsigned> head(ring_->head);
  std::atomic_ref<unsigned> tail(ring_->tail);
  unsigned next = head.load(std::memory_order_relaxed);
  while (true) {
    // Acquire: pairs with the kernel's barrier between writing an event and moving the tail.
    const unsigned end = tail.load(std::memory_order_acquire);
    if (next == end) return;
    while (next != end) {
      const ::io_event event = ring_->event(next);
      next = next + 1 == ring_->size ? 0 : next + 1;
      // Release: the kernel may use the place again once it sees the head.
      head.store(next, std::memory_order_release);
      finished(event);
    }
  }
}

void AioQueue::reap_by_system_call() noexcept {
  std::array<::io_event, 64> events;
  while (in_flight_ != 0) {
    ++system_calls_;
    const long got =
        io_getevents(parts().aio.id(), static_cast<long>(events.size()), events.data());
    if (got == -EINTR) continue;
    for (long i = 0; i < got; ++i) finished(events[static_cast<std::size_t>(i)]);
    if (got < static_cast<long>(events.size())) return;
  }
}

}  // namespace bellhop
