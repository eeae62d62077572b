#include "event/epoll_loop.h"

#include <algorithm>
#include <limits>

namespace bellhop {

namespace {

constexpr auto kForever = std::chrono::nanoseconds::max();

timespec to_timespec(std::chrono::nanoseconds time) noexcept {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
  return {.tv_sec = static_cast<time_t>(seconds.count()),
          .tv_nsec = static_cast<long>((time - seconds).count())};
}

// For kernels before 5.11: rounded up, so that no timer fires early.
int to_milliseconds(std::chrono::nanoseconds time) noexcept {
  if (time == kForever) return -1;
  const auto rounded = std::chrono::ceil<std::chrono::milliseconds>(time).count();
  return static_cast<int>(std::min<std::int64_t>(rounded, std::numeric_limits<int>::max()));
}

}  // namespace

Result<std::unique_ptr<EventLoop>> EpollLoop::create() {
  std::unique_ptr<EpollLoop> loop(new EpollLoop());
  loop->epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!loop->epoll_.valid()) return fail_errno("cannot create an epoll");
  if (auto opened = loop->mailbox_.open(); !opened) return forward(opened);
  if (auto done = loop->watch(loop->mailbox_.event(), loop->mailbox_); !done) return forward(done);
  return loop;
}

Status EpollLoop::watch(const EventFd& event, EventHandler& handler) {
  auto watch = std::make_unique<Watch>(Watch{&event, &handler});
  epoll_event wanted{};
  wanted.events = EPOLLIN;
  wanted.data.ptr = watch.get();
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, event.get(), &wanted) != 0) {
    return fail_errno("cannot watch an eventfd");
  }
  watches_.push_back(std::move(watch));
  return {};
}

std::uint64_t EpollLoop::unwatch(const EventFd& event) noexcept {
  const auto found = std::ranges::find_if(
      watches_, [&](const auto& watch) { return watch->event->get() == event.get(); });
  if (found == watches_.end()) return 0;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, event.get(), nullptr);
  for (std::size_t i = ready_next_; i < ready_end_; ++i) {
    if (ready_[i].data.ptr == found->get()) ready_[i].data.ptr = nullptr;
  }
  watches_.erase(found);
  // The counter is read just before it is delivered, so nothing is ever in between.
  return 0;
}

void EpollLoop::signal(const EventFd& event) noexcept {
  ++system_calls_;
  event.signal();
}

void EpollLoop::start_timer(TimerHandler& handler, std::chrono::nanoseconds delay) {
  timers_.start(handler, delay);
}

void EpollLoop::stop_timer(TimerHandler& handler) noexcept { timers_.stop(handler); }

void EpollLoop::run() {
  while (!mailbox_.take_stop()) run_once(kForever);
}

void EpollLoop::run_once(std::chrono::nanoseconds timeout) {
  timeout = has_deferred() ? std::chrono::nanoseconds(0) : timers_.wait(timeout);
  const bool sleep = timeout > std::chrono::nanoseconds(0) && !stay_awake();
  // Asked again: a poller may have started a timer instead of asking to be told.
  wait(sleep ? timers_.wait(timeout) : std::chrono::nanoseconds(0));
  if (sleep) slept();
  dispatch();
  timers_.run_due();
  run_deferred();
}

void EpollLoop::wait(std::chrono::nanoseconds timeout) noexcept {
  ++system_calls_;
  const timespec time = to_timespec(timeout);
  int count = ::epoll_pwait2(epoll_.get(), ready_.data(), kBatch,
                             timeout == kForever ? nullptr : &time, nullptr);
  if (count < 0 && errno == ENOSYS) {
    count = ::epoll_wait(epoll_.get(), ready_.data(), kBatch, to_milliseconds(timeout));
  }
  ready_next_ = 0;
  ready_end_ = count > 0 ? static_cast<std::size_t>(count) : 0;
}

void EpollLoop::dispatch() noexcept {
  while (ready_next_ < ready_end_) {
    auto* const watch = static_cast<Watch*>(ready_[ready_next_++].data.ptr);
    if (watch == nullptr) continue;
    ++system_calls_;
    // Zero if another reader was quicker.
    if (const std::uint64_t count = watch->event->consume(); count != 0) {
      watch->handler->on_event(count);
    }
  }
}

}  // namespace bellhop
