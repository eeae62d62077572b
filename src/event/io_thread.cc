#include "event/io_thread.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <future>

#include "base/thread.h"

namespace bellhop {

namespace {

constexpr std::size_t kNameLimit = 15;  // TASK_COMM_LEN without the terminator

/// A loop that belongs to this thread.
Result<std::unique_ptr<EventLoop>> make_loop(const IoThreadConfig& config) {
  if (!config.prefer_epoll) {
    auto loop = EventLoop::create(LoopKind::kIoUring);
    // What the host refuses only now, to this thread, is no better than what it refuses at once.
    Status had = loop ? (*loop)->claim() : Status(forward(loop));
    if (had) return loop;
    if (config.need_uring) {
      return fail(fmt::format("loop=io_uring is not to be had here: {} (loop=epoll, or no loop=)",
                              had.error().message),
                  had.error().code);
    }
  }
  return EventLoop::create(LoopKind::kEpoll);
}

}  // namespace

Result<std::unique_ptr<IoThread>> IoThread::start(IoThreadConfig config) {
  std::unique_ptr<IoThread> thread(new IoThread());
  thread->config_ = std::move(config);
  IoThread* const self = thread.get();
  auto running = start_thread(self->config_.kind, fmt::format("I/O thread {}", self->config_.name),
                              ThreadWork{.run = [self] { self->loop_->run(); },
                                         .prepare = [self] { return self->prepare(); }});
  if (!running) return forward(running);
  thread->thread_ = std::move(*running);
  return thread;
}

Status IoThread::prepare() {
  pthread_setname_np(pthread_self(), config_.name.substr(0, kNameLimit).c_str());
  tid_ = ::gettid();
  // Timers bound how long a queue is polled; the default slack of 50 us is longer than that.
  ::prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  if (auto pinned = pin_this_thread(config_.cpus); !pinned) {
    return fail(fmt::format("I/O thread {}: {}", config_.name, pinned.error().message),
                pinned.error().code);
  }
  cpus_ = allowed_cpus();
  auto loop = make_loop(config_);
  if (!loop) {
    return fail(fmt::format("I/O thread {}: {}", config_.name, loop.error().message),
                loop.error().code);
  }
  loop_ = std::move(*loop);
  loop_->set_poll_max(config_.poll_max);
  loop_->set_poll_idle(config_.poll_idle);
  return {};
}

IoThread::~IoThread() {
  if (loop_) loop_->stop();
  if (thread_.joinable()) thread_.join();
}

bool IoThread::is_current() const noexcept {
  return thread_.get_id() == std::this_thread::get_id();
}

void IoThread::run_sync(const std::function<void()>& work) {
  if (is_current()) return work();
  std::promise<void> ran;
  loop_->post([&] {
    work();
    ran.set_value();
  });
  ran.get_future().wait();
}

void IoThread::start_timer(TimerHandler& handler, std::chrono::nanoseconds delay) {
  if (is_current()) return loop_->start_timer(handler, delay);
  loop_->post([this, &handler, delay] { loop_->start_timer(handler, delay); });
}

Status IoThread::set_cpus(const CpuList& cpus) {
  if (cpus.empty()) return {};
  if (auto pinned = pin_thread(tid_, cpus); !pinned) {
    return fail(fmt::format("I/O thread {}: {}", config_.name, pinned.error().message),
                pinned.error().code);
  }
  config_.cpus = cpus_ = cpus;
  return {};
}

}  // namespace bellhop
