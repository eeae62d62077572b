#include "event/event_loop.h"

#include <sched.h>

#include <algorithm>

#include "event/epoll_loop.h"
#include "event/uring_loop.h"

namespace bellhop {

namespace {

// A task may defer another one (a device its interrupt) and have it run in the same round. One that
// defers itself without end (a queue that is polled) must not keep the loop from its events.
constexpr int kDeferredPasses = 4;

// What is found by looking saves a wake-up, which costs more CPU time than the look: one success
// pays for more than one failure in two.
constexpr int kMaxCredit = 8;
constexpr int kFound = 1;
constexpr int kShortSleep = 4;
constexpr int kLongSleep = -2;
// A look gives the CPU away now and then, and where many want it, it comes back late, to work that
// has been waiting. A sleeper would have been woken before. What that has cost is paid back by so
// many times as long without looking.
constexpr int kLateLooks = 2;  ///< of this many times the time for it
constexpr int kPaidBack = 8;
// Looks between two readings of the clock.
constexpr int kLooksPerReading = 16;

void relax() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

Result<std::unique_ptr<EventLoop>> EventLoop::create(LoopKind kind) {
  if (kind == LoopKind::kIoUring) return UringLoop::create();
  return EpollLoop::create();
}

void EventLoop::add_poller(Poller& poller) {
  pollers_.push_back(&poller);
  if (poller.look() == Look::kWhileItPays) ++may_pay_;
  if (poller.look() != Look::kAlways) return;
  polled_.push_back(&poller);
  polled_work_ = kUnknown;
}

void EventLoop::remove_poller(Poller& poller) noexcept {
  if (std::erase(pollers_, &poller) == 0) return;
  if (poller.look() == Look::kWhileItPays) --may_pay_;
  std::erase(polled_, &poller);
}

bool EventLoop::stay_awake(std::chrono::nanoseconds limit) noexcept {
  if (pollers_.empty()) return false;
  std::chrono::nanoseconds look{0};
  if (may_pay() || !polled_.empty()) {
    idle_since_ = std::chrono::steady_clock::now();
    poll_kind_ = std::ranges::any_of(
        pollers_, [](const Poller* poller) { return poller->has_work_under_way(); });
    int& credit = poll_credit_[poll_kind_];
    const bool pays = may_pay() && credit > 0 && idle_since_ >= no_look_before_;
    look = pays ? poll_max_ : std::chrono::nanoseconds(0);
    if (!polled_.empty()) look = std::max(look, time_for_polled());
    look = std::min(look, limit);
    if (look > std::chrono::nanoseconds(0) && look_around(look)) {
      credit = std::min(kMaxCredit, credit + kFound);
      return true;
    }
  }
  bool work = false;
  for (Poller* poller : pollers_) work |= poller->prepare_sleep();
  if (work && look > std::chrono::nanoseconds(0)) note_missed(look);
  return work;
}

void EventLoop::note_missed(std::chrono::nanoseconds look) noexcept {
  const auto now = std::chrono::steady_clock::now();
  const auto took = now - idle_since_;
  if (took > kLateLooks * look) no_look_before_ = now + kPaidBack * took;
}

std::chrono::nanoseconds EventLoop::time_for_polled() noexcept {
  std::uint64_t work = 0;
  for (const Poller* poller : polled_) work += poller->work_done();
  if (work != polled_work_) {
    polled_work_ = work;
    polled_since_ = idle_since_;
  }
  return polled_since_ + poll_idle_ - idle_since_;
}

bool EventLoop::look_around(std::chrono::nanoseconds until) noexcept {
  flush();
  do {
    for (int look = 0; look < kLooksPerReading; ++look) {
      for (Poller* poller : pollers_) {
        if (poller->poll()) return true;
      }
      if (has_news()) return true;
      relax();
    }
    if (ask_for_news()) return true;
    // Who shares the CPU may be the very vCPU whose kick is looked for.
    ::sched_yield();
  } while (std::chrono::steady_clock::now() - idle_since_ < until);
  return false;
}

void EventLoop::slept() noexcept {
  if (!may_pay()) return;
  const bool was_short = std::chrono::steady_clock::now() - idle_since_ <= poll_max_;
  int& credit = poll_credit_[poll_kind_];
  credit = std::clamp(credit + (was_short ? kShortSleep : kLongSleep), 0, kMaxCredit);
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
