#pragma once

#include <sys/epoll.h>

#include <array>
#include <memory>
#include <vector>

#include "event/event_loop.h"
#include "event/mailbox.h"
#include "event/timer_list.h"

namespace bellhop {

/// The loop on epoll: one system call to wait, one to read each eventfd that is ready.
class EpollLoop final : public EventLoop {
 public:
  static Result<std::unique_ptr<EventLoop>> create();
  ~EpollLoop() override = default;

  [[nodiscard]] LoopKind kind() const noexcept override { return LoopKind::kEpoll; }
  Status watch(const EventFd& event, EventHandler& handler) override;
  std::uint64_t unwatch(const EventFd& event) noexcept override;
  Result<std::unique_ptr<FdWatch>> watch_fd(int fd, Readiness readiness,
                                            ReadyHandler& handler) override;
  void signal(const EventFd& event) noexcept override;
  void start_timer(TimerHandler& handler, std::chrono::nanoseconds delay) override;
  void stop_timer(TimerHandler& handler) noexcept override;
  int register_file(int) noexcept override { return -1; }
  void unregister_file(int) noexcept override {}
  void post(std::function<void()> message) override { mailbox_.post(std::move(message)); }
  void run() override;
  void run_once(std::chrono::nanoseconds timeout) override;
  void stop() noexcept override { mailbox_.stop(); }

 private:
  void flush() noexcept override {}
  [[nodiscard]] bool has_news() const noexcept override { return false; }
  [[nodiscard]] bool ask_for_news() noexcept override;
  /// What an epoll event points at: an eventfd's watch, or an FdWatch.
  struct Watch {
    const EventFd* event = nullptr;
    EventHandler* handler = nullptr;
    class OneShot* one_shot = nullptr;
  };
  friend class OneShot;
  static constexpr std::size_t kBatch = 64;

  EpollLoop() = default;
  void wait(std::chrono::nanoseconds timeout) noexcept;
  void dispatch() noexcept;
  void strike_out(const Watch& watch) noexcept;

  UniqueFd epoll_;
  Mailbox mailbox_;
  TimerList timers_;
  std::vector<std::unique_ptr<Watch>> watches_;
  // What epoll_wait returned and dispatch() has not reached yet: unwatch() strikes itself out.
  std::array<epoll_event, kBatch> ready_{};
  std::size_t ready_next_ = 0;
  std::size_t ready_end_ = 0;
};

}  // namespace bellhop
