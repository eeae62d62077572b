#include "event/epoll_loop.h"

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <limits>

namespace bellhop {

namespace {

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

class OneShot final : public FdWatch {
 public:
  OneShot(EpollLoop& loop, UniqueFd fd, Readiness readiness, ReadyHandler& handler) noexcept
      : loop_(loop),
        fd_(std::move(fd)),
        events_(readiness == Readiness::kReadable   ? EPOLLIN
                : readiness == Readiness::kWritable ? EPOLLOUT
                                                    : EPOLLRDHUP),
        handler_(handler) {
    watch_.one_shot = this;
  }
  ~OneShot() override {
    ::epoll_ctl(loop_.epoll_.get(), EPOLL_CTL_DEL, fd_.get(), nullptr);
    loop_.strike_out(watch_);
  }

  void arm() noexcept override {
    if (armed_) return;
    armed_ = true;
    loop_.system_calls_.add();
    (void)control(EPOLL_CTL_MOD, events_);
  }
  [[nodiscard]] int control(int operation, std::uint32_t events) noexcept {
    epoll_event wanted{};
    wanted.events = events | EPOLLONESHOT;
    wanted.data.ptr = &watch_;
    return ::epoll_ctl(loop_.epoll_.get(), operation, fd_.get(), &wanted);
  }
  void fired() noexcept {
    // Errors are reported unasked, once, to one who has not armed yet.
    if (std::exchange(armed_, false)) handler_.on_ready();
  }

 private:
  EpollLoop& loop_;
  UniqueFd fd_;  ///< of our own: an epoll takes each only once, and it is waited for both ways
  std::uint32_t events_;
  ReadyHandler& handler_;
  EpollLoop::Watch watch_;
  bool armed_ = false;
};

Result<std::unique_ptr<EventLoop>> EpollLoop::create() {
  std::unique_ptr<EpollLoop> loop(new EpollLoop());
  loop->epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!loop->epoll_.valid()) return fail_errno("cannot create an epoll");
  if (auto opened = loop->mailbox_.open(); !opened) return forward(opened);
  if (auto done = loop->watch(loop->mailbox_.event(), loop->mailbox_); !done) return forward(done);
  return loop;
}

Status EpollLoop::watch(const EventFd& event, EventHandler& handler) {
  auto watch = std::make_unique<Watch>(Watch{&event, &handler, nullptr});
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
  strike_out(**found);
  watches_.erase(found);
  // The counter is read just before it is delivered, so nothing is ever in between.
  return 0;
}

void EpollLoop::strike_out(const Watch& watch) noexcept {
  for (std::size_t i = ready_next_; i < ready_end_; ++i) {
    if (ready_[i].data.ptr == &watch) ready_[i].data.ptr = nullptr;
  }
}

Result<std::unique_ptr<FdWatch>> EpollLoop::watch_fd(int fd, Readiness readiness,
                                                     ReadyHandler& handler) {
  UniqueFd own(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!own.valid()) return fail_errno("cannot watch a descriptor");
  auto watch = std::make_unique<OneShot>(*this, std::move(own), readiness, handler);
  if (watch->control(EPOLL_CTL_ADD, 0) != 0) return fail_errno("cannot watch a descriptor");
  return watch;
}

void EpollLoop::signal(const EventFd& event) noexcept {
  system_calls_.add();
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
  const bool sleep = timeout > std::chrono::nanoseconds(0) && !stay_awake(timeout);
  // Asked again: a poller may have started a timer instead of asking to be told.
  wait(sleep ? timers_.wait(timeout) : std::chrono::nanoseconds(0));
  if (sleep) slept();
  dispatch();
  timers_.run_due();
  run_deferred();
}

void EpollLoop::wait(std::chrono::nanoseconds timeout) noexcept {
  system_calls_.add();
  const timespec time = to_timespec(timeout);
  int count = ::epoll_pwait2(epoll_.get(), ready_.data(), kBatch,
                             timeout == kForever ? nullptr : &time, nullptr);
  if (count < 0 && errno == ENOSYS) {
    count = ::epoll_wait(epoll_.get(), ready_.data(), kBatch, to_milliseconds(timeout));
  }
  ready_next_ = 0;
  ready_end_ = count > 0 ? static_cast<std::size_t>(count) : 0;
}

bool EpollLoop::ask_for_news() noexcept {
  system_calls_.add();
  pollfd self{.fd = epoll_.get(), .events = POLLIN, .revents = 0};
  return ::poll(&self, 1, 0) > 0;
}

void EpollLoop::dispatch() noexcept {
  while (ready_next_ < ready_end_) {
    auto* const watch = static_cast<Watch*>(ready_[ready_next_++].data.ptr);
    if (watch == nullptr) continue;
    if (watch->one_shot != nullptr) {
      watch->one_shot->fired();
      continue;
    }
    system_calls_.add();
    // Zero if another reader was quicker.
    if (const std::uint64_t count = watch->event->consume(); count != 0) {
      watch->handler->on_event(count);
    }
  }
}

}  // namespace bellhop
