#include "testing/faulty_backend.h"

#include <algorithm>

namespace bellhop {

class FaultyBackend::Queue final : public BlockQueue, private EventHandler {
 public:
  Queue(FaultyBackend& owner, std::unique_ptr<BlockQueue> inner, EventLoop& loop)
      : owner_(owner), inner_(std::move(inner)), loop_(loop) {}

  Status open() {
    // Where the owner watches the inner queue's event, ours is the same one.
    if (inner_->completion_event() == nullptr) {
      auto event = EventFd::create();
      if (!event) return forward(event);
      event_ = std::move(*event);
      if (auto done = loop_.watch(event_, *this); !done) return done;
    }
    const std::lock_guard lock(owner_.mutex_);
    owner_.queues_.push_back(this);
    return {};
  }

  ~Queue() override {
    if (event_.valid()) loop_.unwatch(event_);
    const std::lock_guard lock(owner_.mutex_);
    std::erase(owner_.queues_, this);
  }

  void enqueue(BlockIo& io) noexcept override { enqueued_.push_back(&io); }

  void submit() noexcept override {
    {
      const std::lock_guard lock(owner_.mutex_);
      while (!enqueued_.empty()) {
        BlockIo* const io = enqueued_.front();
        enqueued_.pop_front();
        ++owner_.submitted_[static_cast<std::size_t>(io->op)];
        waiting_.push_back(io);
        if (!owner_.holding_) ++allowed_;
      }
    }
    pass_on();
  }

  void reap() noexcept override {
    inner_->reap();
    pass_on();
  }

  [[nodiscard]] const EventFd* completion_event() const noexcept override {
    return inner_->completion_event();
  }
  [[nodiscard]] std::uint64_t system_calls() const noexcept override {
    return inner_->system_calls();
  }

  // With the owner's mutex held.
  [[nodiscard]] std::size_t held() const { return waiting_.size() - allowed_; }
  void allow(std::size_t count) {
    allowed_ += std::min(count, held());
    (event_.valid() ? event_ : *inner_->completion_event()).signal();
  }

 private:
  void on_event(std::uint64_t) noexcept override { pass_on(); }

  void pass_on() noexcept {
    bool passed = false;
    while (true) {
      BlockIo* io = nullptr;
      int error = 0;
      {
        const std::lock_guard lock(owner_.mutex_);
        if (allowed_ == 0) break;
        --allowed_;
        io = waiting_.front();
        waiting_.pop_front();
        error = owner_.take_error(io->op);
      }
      if (error != 0) {
        io->completed(*io, error);
      } else {
        inner_->enqueue(*io);
        passed = true;
      }
    }
    if (passed) inner_->submit();
  }

  FaultyBackend& owner_;
  std::unique_ptr<BlockQueue> inner_;
  EventLoop& loop_;
  EventFd event_;
  std::deque<BlockIo*> enqueued_;
  std::deque<BlockIo*> waiting_;  // this and the next under the owner's mutex
  std::size_t allowed_ = 0;       // of waiting_, from its front
};

FaultyBackend::FaultyBackend(std::unique_ptr<BlockBackend> inner) : inner_(std::move(inner)) {}

FaultyBackend::~FaultyBackend() = default;

void FaultyBackend::fail_next(BlockOp op, int error, unsigned count) {
  const std::lock_guard lock(mutex_);
  auto& errors = errors_[static_cast<std::size_t>(op)];
  errors.insert(errors.end(), count, error);
}

void FaultyBackend::fail_no_more() {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (auto& errors : errors_) errors.clear();
}

void FaultyBackend::hold() {
  const std::lock_guard lock(mutex_);
  holding_ = true;
}

void FaultyBackend::release(std::size_t count) {
  const std::lock_guard lock(mutex_);
  for (Queue* const queue : queues_) queue->allow(count);
}

void FaultyBackend::release_all() {
  const std::lock_guard lock(mutex_);
  holding_ = false;
  for (Queue* const queue : queues_) queue->allow(SIZE_MAX);
}

std::size_t FaultyBackend::held() const {
  const std::lock_guard lock(mutex_);
  std::size_t sum = 0;
  for (const Queue* const queue : queues_) sum += queue->held();
  return sum;
}

std::uint64_t FaultyBackend::submitted(BlockOp op) const {
  const std::lock_guard lock(mutex_);
  return submitted_[static_cast<std::size_t>(op)];
}

int FaultyBackend::take_error(BlockOp op) {
  auto& errors = errors_[static_cast<std::size_t>(op)];
  if (errors.empty()) return 0;
  const int error = errors.front();
  errors.pop_front();
  return error;
}

Result<std::unique_ptr<BlockQueue>> FaultyBackend::make_queue(EventLoop& loop, QueueSharing sharing,
                                                              unsigned depth) {
  auto inner = inner_->make_queue(loop, sharing, depth);
  if (!inner) return inner;
  auto queue = std::make_unique<Queue>(*this, std::move(*inner), loop);
  if (auto opened = queue->open(); !opened) return forward(opened);
  return queue;
}

}  // namespace bellhop
