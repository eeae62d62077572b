#include <sys/timerfd.h>

#include <algorithm>
#include <utility>

#include "block/delay_line.h"
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

/// Each request ends so long after its submission: by a timer of the loop's or, while a vCPU
/// submits as well and has no loop to ask, by one of the kernel's in the place of an eventfd. A
/// loop that looks for work sees its own timer's time come; the kernel's costs a system call for
/// each batch, and an interrupt of the host.
class DelayedQueue final : public BlockQueue, private TimerHandler {
 public:
  /// `timer` is a timerfd of kSharedWithVcpu, else not valid.
  DelayedQueue(EventLoop& loop, std::chrono::nanoseconds latency, UniqueFd timer) noexcept
      : loop_(loop), line_(latency), timer_(std::move(timer)), loop_only_(!timer_.valid()) {}
  ~DelayedQueue() override { loop_.stop_timer(*this); }

  void enqueue(BlockIo& io) noexcept override { pending_.push(io); }
  void submit() noexcept override {
    const auto now = Clock::now();
    line_.push(pending_, now);
    while (BlockIo* const io = line_.pop(now)) io->completed(*io, 0);
    arm(now);
  }
  void reap() noexcept override {
    armed_ = false;
    submit();
  }
  [[nodiscard]] const EventFd* completion_event() const noexcept override {
    return timer_.valid() ? &timer_ : nullptr;
  }
  void set_loop_only(bool loop_only) noexcept override { loop_only_ = loop_only; }
  [[nodiscard]] std::uint64_t system_calls() const noexcept override { return system_calls_; }

 private:
  using Clock = std::chrono::steady_clock;

  void on_timer() noexcept override { reap(); }

  /// For the first that is to end. What the timer was set for before ends no later than that. With
  /// nothing outstanding the loop's does not run: a vCPU may be next.
  void arm(Clock::time_point now) noexcept {
    const auto next = line_.next();
    if (!next) {
      if (loop_only_ && std::exchange(armed_, false)) loop_.stop_timer(*this);
      return;
    }
    if (armed_) return;
    armed_ = true;
    const auto delay = std::max(*next - now, Clock::duration(1));
    if (loop_only_) return loop_.start_timer(*this, delay);
    ++system_calls_;
    const auto seconds = std::chrono::floor<std::chrono::seconds>(delay);
    const itimerspec time{.it_interval = {},
                          .it_value = {seconds.count(), (delay - seconds).count()}};
    ::timerfd_settime(timer_.get(), 0, &time, nullptr);
  }

  EventLoop& loop_;
  IoList pending_;
  DelayLine line_;
  EventFd timer_;
  bool loop_only_;
  bool armed_ = false;
  std::uint64_t system_calls_ = 0;
};

class NullBackend final : public BlockBackend {
 public:
  NullBackend(std::uint64_t capacity, std::chrono::nanoseconds latency) noexcept
      : latency_(latency) {
    limits_.capacity = capacity;
    limits_.can_discard = true;
    limits_.can_write_zeroes = true;
  }
  [[nodiscard]] const BlockLimits& limits() const noexcept override { return limits_; }
  [[nodiscard]] const char* kind() const noexcept override { return "null"; }
  Result<std::unique_ptr<BlockQueue>> make_queue(EventLoop& loop, QueueSharing sharing,
                                                 unsigned) override {
    if (latency_ > std::chrono::nanoseconds(0)) return make_delayed(loop, sharing);
    EventFd event;
    if (sharing == QueueSharing::kSharedWithVcpu) {
      auto made = EventFd::create();
      if (!made) return forward(made);
      event = std::move(*made);
    }
    return std::make_unique<NullQueue>(std::move(event), sharing);
  }

 private:
  Result<std::unique_ptr<BlockQueue>> make_delayed(EventLoop& loop, QueueSharing sharing) const {
    UniqueFd timer;
    if (sharing == QueueSharing::kSharedWithVcpu) {
      timer = UniqueFd(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
      if (!timer.valid()) return fail_errno("cannot create a timer");
    }
    return std::make_unique<DelayedQueue>(loop, latency_, std::move(timer));
  }

  BlockLimits limits_;
  std::chrono::nanoseconds latency_;
};

}  // namespace

std::unique_ptr<BlockBackend> make_null_backend(std::uint64_t capacity,
                                                std::chrono::nanoseconds latency) {
  return std::make_unique<NullBackend>(capacity, latency);
}

}  // namespace bellhop
