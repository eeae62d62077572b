#include "block/transfer.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace bellhop {

namespace {

constexpr std::size_t kBufferAlign = 4096;  // the strictest that a medium asks for
constexpr std::size_t kMaxVector = 1024;    // UIO_MAXIOV: what is beyond comes as a further step
constexpr std::uint32_t kMaxRetries = 100;  // then the medium is not busy, it is broken

bool is_transfer(const BlockIo& io) noexcept {
  return io.op == BlockOp::kRead || io.op == BlockOp::kWrite;
}

/// Copies between `buffer` and the guest memory of `io` from byte `skip` of it on.
template <class CopyPiece>
void for_pieces(const BlockIo& io, std::uint64_t skip, std::span<std::byte> buffer,
                CopyPiece copy) noexcept {
  for (const GuestSpan& span : io.data) {
    if (buffer.empty()) return;
    if (skip >= span.size()) {
      skip -= span.size();
      continue;
    }
    const GuestSpan piece = span.part(static_cast<std::size_t>(skip), buffer.size());
    copy(piece, buffer.first(piece.size()));
    buffer = buffer.subspan(piece.size());
    skip = 0;
  }
}

std::span<std::byte> bounce_piece(const BlockIo& io) noexcept {
  const std::uint64_t left = io.length - io.scratch.progress;
  return {static_cast<std::byte*>(io.scratch.bounce),
          static_cast<std::size_t>(std::min<std::uint64_t>(left, BouncePool::kBufferBytes))};
}

TransferState done(BlockIo& io, int error) noexcept {
  io.scratch.error = error;
  return TransferState::kDone;
}

}  // namespace

BouncePool::~BouncePool() {
  while (first_ != nullptr) std::free(std::exchange(first_, first_->next));
}

void* BouncePool::take() noexcept {
  if (in_use_ == kMaxBuffers) return nullptr;
  void* const buffer = first_ != nullptr ? std::exchange(first_, first_->next)
                                         : std::aligned_alloc(kBufferAlign, kBufferBytes);
  if (buffer != nullptr) ++in_use_;
  return buffer;
}

void BouncePool::give_back(void* buffer) noexcept {
  --in_use_;
  first_ = ::new (buffer) Free{first_};
}

bool begin_transfer(BlockIo& io, const DiskFile& file) noexcept {
  io.scratch.next = nullptr;
  io.scratch.bounce = nullptr;
  io.scratch.progress = 0;
  io.scratch.retries = 0;
  io.scratch.alone = false;
  io.scratch.error = 0;
  return is_transfer(io) && file.needs_bounce(io);
}

TransferStep next_step(BlockIo& io) noexcept {
  TransferStep step;
  step.offset = io.offset + io.scratch.progress;
  if (io.scratch.bounce != nullptr) {
    const auto piece = bounce_piece(io);
    if (io.op == BlockOp::kWrite) {
      for_pieces(io, io.scratch.progress, piece,
                 [](const GuestSpan& from, std::span<std::byte> to) { from.copy_out(to); });
    }
    step.single = {piece.data(), piece.size()};
    return step;
  }
  if (io.scratch.progress == 0 && io.data.size() > 1) {
    const auto vectors = as_iovecs(io.data);
    step.vector = vectors.data();
    step.count = static_cast<unsigned>(std::min(vectors.size(), kMaxVector));
    return step;
  }
  // After a short transfer: what is left of the piece in which it ended.
  std::uint64_t skip = io.scratch.progress;
  for (const GuestSpan& span : io.data) {
    if (skip < span.size()) {
      step.single = span.part(static_cast<std::size_t>(skip)).as_iovec();
      break;
    }
    skip -= span.size();
  }
  return step;
}

TransferState advance(BlockIo& io, int result) noexcept {
  // ECANCELED: nobody cancels here, but io_uring does when a signal keeps it from making a worker.
  if (result == -EINTR || result == -EAGAIN || result == -ECANCELED) {
    return ++io.scratch.retries <= kMaxRetries ? TransferState::kMore : done(io, -EIO);
  }
  if (result < 0) return done(io, result);
  if (!is_transfer(io)) return done(io, 0);
  // The end of a file that was truncated under the guest, or a medium that takes no more.
  if (result == 0) return done(io, io.length == io.scratch.progress ? 0 : -EIO);
  if (io.scratch.bounce != nullptr && io.op == BlockOp::kRead) {
    for_pieces(io, io.scratch.progress, bounce_piece(io).first(static_cast<std::size_t>(result)),
               [](const GuestSpan& to, std::span<std::byte> from) { to.copy_in(from); });
  }
  io.scratch.progress += static_cast<std::uint64_t>(result);
  return io.scratch.progress >= io.length ? done(io, 0) : TransferState::kMore;
}

void end_transfer(BlockIo& io, BouncePool& pool) noexcept {
  if (io.scratch.bounce != nullptr) pool.give_back(std::exchange(io.scratch.bounce, nullptr));
}

}  // namespace bellhop
