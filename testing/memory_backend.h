#pragma once

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include "block/block_backend.h"
#include "block/io_list.h"

namespace bellhop {

/// A disk in a vector, whose bytes a test can look at. Completes everything in submit(). Requests
/// of several queues at once must not overlap.
class MemoryBackend final : public BlockBackend {
 public:
  explicit MemoryBackend(std::size_t capacity) : bytes_(capacity) {
    limits_.capacity = capacity;
    limits_.can_discard = true;
    limits_.can_write_zeroes = true;
  }

  [[nodiscard]] std::vector<std::byte>& bytes() noexcept { return bytes_; }
  /// Before a device is made on it.
  [[nodiscard]] BlockLimits& mutable_limits() noexcept { return limits_; }

  [[nodiscard]] const BlockLimits& limits() const noexcept override { return limits_; }
  [[nodiscard]] const char* kind() const noexcept override { return "memory"; }
  Result<std::unique_ptr<BlockQueue>> make_queue(EventLoop&, QueueSharing sharing,
                                                 unsigned) override {
    auto event = EventFd::create();
    if (!event) return forward(event);
    return std::make_unique<Queue>(bytes_, std::move(*event), sharing);
  }

 private:
  class Queue final : public BlockQueue {
   public:
    Queue(std::vector<std::byte>& bytes, EventFd event, QueueSharing sharing) noexcept
        : bytes_(bytes), event_(std::move(event)), sharing_(sharing) {}
    void enqueue(BlockIo& io) noexcept override { pending_.push(io); }
    void submit() noexcept override {
      while (BlockIo* const io = pending_.pop()) io->completed(*io, execute(*io));
    }
    void reap() noexcept override { submit(); }
    [[nodiscard]] const EventFd* completion_event() const noexcept override {
      return sharing_ == QueueSharing::kSharedWithVcpu ? &event_ : nullptr;
    }
    [[nodiscard]] std::uint64_t system_calls() const noexcept override { return 0; }

   private:
    int execute(const BlockIo& io) noexcept {
      if (io.offset > bytes_.size() || io.length > bytes_.size() - io.offset) return -EIO;
      auto disk = std::span(bytes_).subspan(io.offset, io.length);
      switch (io.op) {
        case BlockOp::kRead:
          for (const GuestSpan& span : io.data) disk = disk.subspan(span.copy_in(disk));
          break;
        case BlockOp::kWrite:
          for (const GuestSpan& span : io.data) disk = disk.subspan(span.copy_out(disk));
          break;
        case BlockOp::kDiscard:
        case BlockOp::kWriteZeroes:
          std::ranges::fill(disk, std::byte{0});
          break;
        case BlockOp::kFlush:
          break;
      }
      return 0;
    }

    std::vector<std::byte>& bytes_;
    IoList pending_;
    EventFd event_;  // never signalled: nothing finishes later
    QueueSharing sharing_;
  };

  std::vector<std::byte> bytes_;
  BlockLimits limits_;
};

}  // namespace bellhop
