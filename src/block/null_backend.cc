#include <utility>

#include "block/io_list.h"
#include "block/raw_file.h"

namespace bellhop {

namespace {

class NullQueue final : public BlockQueue {
 public:
  NullQueue(EventFd event, QueueSharing sharing) noexcept
      : event_(std::move(event)), sharing_(sharing) {}

  void enqueue(BlockIo& io) noexcept override { pending_.push(io); }
  void submit() noexcept override {
    while (BlockIo* const io = pending_.pop()) io->completed(*io, 0);
  }
  void reap() noexcept override { submit(); }
  [[nodiscard]] const EventFd* completion_event() const noexcept override {
    return sharing_ == QueueSharing::kSharedWithVcpu ? &event_ : nullptr;
  }
  [[nodiscard]] std::uint64_t system_calls() const noexcept override { return 0; }

 private:
  IoList pending_;
  EventFd event_;  // never signalled: nothing finishes later
  QueueSharing sharing_;
};

class NullBackend final : public BlockBackend {
 public:
  explicit NullBackend(std::uint64_t capacity) noexcept {
    limits_.capacity = capacity;
    limits_.can_discard = true;
    limits_.can_write_zeroes = true;
  }
  [[nodiscard]] const BlockLimits& limits() const noexcept override { return limits_; }
  [[nodiscard]] const char* kind() const noexcept override { return "null"; }
  Result<std::unique_ptr<BlockQueue>> make_queue(EventLoop&, QueueSharing sharing,
                                                 unsigned) override {
    EventFd event;
    if (sharing == QueueSharing::kSharedWithVcpu) {
      auto made = EventFd::create();
      if (!made) return forward(made);
      event = std::move(*made);
    }
    return std::make_unique<NullQueue>(std::move(event), sharing);
  }

 private:
  BlockLimits limits_;
};

}  // namespace

std::unique_ptr<BlockBackend> make_null_backend(std::uint64_t capacity) {
  return std::make_unique<NullBackend>(capacity);
}

}  // namespace bellhop
