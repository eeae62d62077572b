#include "event/event_loop.h"

#include "event/epoll_loop.h"
#include "event/uring_loop.h"

namespace bellhop {

namespace {

// A task may defer another one (a device its bell) and have it run in the same round. One that
// defers itself without end (a queue that is polled) must not keep the loop from its events.
constexpr int kDeferredPasses = 4;

}  // namespace

Result<std::unique_ptr<EventLoop>> EventLoop::create(LoopKind kind) {
  if (kind == LoopKind::kIoUring) return UringLoop::create();
  return EpollLoop::create();
}

Result<std::unique_ptr<EventLoop>> EventLoop::create_best() {
  auto loop = create(LoopKind::kIoUring);
  return loop ? std::move(loop) : create(LoopKind::kEpoll);
}

void EventLoop::defer(Task& task) noexcept {
  if (task.queued_) return;
  task.queued_ = true;
  task.next_ = nullptr;
  if (last_task_ == nullptr) {
    first_task_ = &task;
  } else {
    last_task_->next_ = &task;
  }
  last_task_ = &task;
}

void EventLoop::cancel_deferred(Task& task) noexcept {
  if (!task.queued_) return;
  task.queued_ = false;
  Task* previous = nullptr;
  for (Task* walk = first_task_; walk != &task; walk = walk->next_) previous = walk;
  (previous == nullptr ? first_task_ : previous->next_) = task.next_;
  if (last_task_ == &task) last_task_ = previous;
}

void EventLoop::run_deferred() noexcept {
  for (int pass = 0; pass < kDeferredPasses && first_task_ != nullptr; ++pass) {
    // Tasks are taken one by one, so that one may cancel another; the pass ends after the one that
    // was last when it began, or when that one was cancelled, with the list.
    const Task* const end = last_task_;
    bool more = true;
    while (more && first_task_ != nullptr) {
      Task* const task = first_task_;
      more = task != end;
      first_task_ = task->next_;
      if (first_task_ == nullptr) last_task_ = nullptr;
      task->queued_ = false;
      task->run();
    }
  }
}

}  // namespace bellhop
