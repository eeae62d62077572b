#pragma once

#include <liburing.h>

#include <memory>
#include <optional>
#include <vector>

#include "event/event_loop.h"
#include "event/mailbox.h"
#include "event/timer_list.h"

namespace bellhop {

/// The loop on io_uring. A watched eventfd is an outstanding read of its eight bytes; a signal is a
/// write; both travel with the disk I/O of the round in the one system call that also waits.
///
/// user_data is an IoOp*, null for what needs no answer, or a tagged descriptor (signals).
class UringLoop final : public EventLoop {
 public:
  static Result<std::unique_ptr<EventLoop>> create();
  ~UringLoop() override;

  [[nodiscard]] LoopKind kind() const noexcept override { return LoopKind::kIoUring; }
  Status watch(const EventFd& event, EventHandler& handler) override;
  std::uint64_t unwatch(const EventFd& event) noexcept override;
  Result<std::unique_ptr<FdWatch>> watch_fd(int fd, Readiness readiness,
                                            ReadyHandler& handler) override;
  void signal(const EventFd& event) noexcept override;
  void start_timer(TimerHandler& handler, std::chrono::nanoseconds delay) override;
  void stop_timer(TimerHandler& handler) noexcept override;
  int register_file(int fd) noexcept override;
  void unregister_file(int slot) noexcept override;
  void post(std::function<void()> message) override { mailbox_.post(std::move(message)); }
  Status claim() override;
  void run() override;
  void run_once(std::chrono::nanoseconds timeout) override;
  void stop() noexcept override { mailbox_.stop(); }

 private:
  struct Watch;
  struct PollOp;
  class PollWatch;
  struct Completion {
    std::uint64_t user_data;
    int result;
  };

  UringLoop() = default;
  Status open_ring();
  int enable() noexcept;
  void arm(Watch& watch) noexcept;
  ::io_uring_sqe* get_sqe() noexcept;
  [[nodiscard]] bool must_enter() const noexcept;
  void submit() noexcept;
  void submit_and_wait(std::chrono::nanoseconds timeout) noexcept;
  bool take_completions() noexcept;
  void dispatch() noexcept;
  void flush() noexcept override {
    if (::io_uring_sq_ready(&ring_) != 0) submit();
  }
  [[nodiscard]] bool has_news() const noexcept override {
    return ::io_uring_cq_ready(&ring_) != 0 || must_enter();
  }
  void signal_failed(int fd, int error) noexcept;
  void round(std::chrono::nanoseconds timeout) noexcept;
  std::optional<int> cancel(IoOp& op) noexcept;

  ::io_uring ring_{};
  bool ring_open_ = false;
  bool enabled_ = false;
  std::uint64_t free_slots_ = 0;  // of the table of registered files, a bit each
  Mailbox mailbox_;
  TimerList timers_;
  std::vector<std::unique_ptr<Watch>> watches_;
  // Those whose operation could not be taken back: kept, since the kernel may still come to them.
  std::vector<std::unique_ptr<Watch>> orphans_;
  std::vector<std::unique_ptr<PollOp>> poll_orphans_;
  // Copied from the completion queue, not dispatched yet. unwatch() looks for its own in here, and
  // adds what it finds in the queue while it waits.
  std::vector<Completion> ready_;
  std::size_t ready_next_ = 0;
};

}  // namespace bellhop
