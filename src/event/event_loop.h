#pragma once

#include <array>
#include <cassert>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/relaxed_counter.h"
#include "base/result.h"
#include "base/unique_fd.h"

struct io_uring;

namespace bellhop {

class EventLoop;

/// One asynchronous operation of the kernel. `done` runs on the loop's thread with the operation's
/// result (bytes, or -errno). The object must stay where it is until then.
struct IoOp {
  void (*done)(IoOp& op, int result) noexcept = nullptr;
};

/// Work put off to the end of the loop's current round, once, however often it is asked for: this
/// is where a device submits its batch, publishes its used ring and raises its interrupt.
class Task {
 public:
  virtual void run() noexcept = 0;

 protected:
  /// Who is destroyed while deferred would be run by the loop afterwards: see cancel_deferred().
  virtual ~Task() { assert(!queued_); }

 private:
  friend class EventLoop;
  Task* next_ = nullptr;
  bool queued_ = false;
};

/// Called when an eventfd is signalled. The loop reads the counter; `count` is what it held.
class EventHandler {
 public:
  virtual void on_event(std::uint64_t count) noexcept = 0;

 protected:
  ~EventHandler() = default;
};

/// Called when a descriptor can be read, or written.
class ReadyHandler {
 public:
  /// It can, or it is in error: trying tells which. Comes once for each FdWatch::arm().
  virtual void on_ready() noexcept = 0;

 protected:
  ~ReadyHandler() = default;
};

/// Calls a function of its owner: for those that wait for more than one descriptor or readiness.
template <class Owner, void (Owner::*kCall)() noexcept>
class ReadyCall final : public ReadyHandler {
 public:
  explicit ReadyCall(Owner& owner) noexcept : owner_(owner) {}
  void on_ready() noexcept override { (owner_.*kCall)(); }

 private:
  Owner& owner_;
};

enum class Readiness : std::uint8_t {
  kReadable,
  kWritable,
  kHungUp,  ///< a socket's peer has gone; what it has written before does not count
};

/// A descriptor that is waited for, now and then: made by EventLoop::watch_fd(). Used, and
/// destroyed, where the loop itself may be used. No call to the handler comes after the destructor.
class FdWatch {
 public:
  virtual ~FdWatch() = default;
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;
  /// Waits for the descriptor once, also if it is ready already. Nothing happens if it waits now.
  virtual void arm() noexcept = 0;

 protected:
  FdWatch() = default;
};

/// Whether a loop that has nothing to do looks for work before it sleeps. Of what its pollers ask
/// for it does the most.
enum class Look : std::uint8_t {
  kNever,
  kWhileItPays,  ///< EventLoop::set_poll_max()
  kAlways,       ///< as long as there is traffic, whatever that costs: EventLoop::set_poll_idle()
};

/// Something that can see its work without being told, and that is told only if it asks. Before the
/// loop sleeps it looks for a while (see set_poll_max), then has all of them ask, and looks once
/// more: as long as the loop is awake anyway, none needs to be told.
class Poller {
 public:
  /// Whether there is work now; it is deferred (EventLoop::defer) before this returns. Cheap.
  virtual bool poll() noexcept = 0;
  /// Asks to be told again, then looks once more: as poll(). True: the loop must not sleep yet.
  virtual bool prepare_sleep() noexcept = 0;
  /// Whether the next thing to happen is the end of something that this side has under way, rather
  /// than new work. The two come at different intervals, and the loop learns them apart.
  [[nodiscard]] virtual bool has_work_under_way() const noexcept = 0;
  /// Whether its work is to be looked for before the loop sleeps. The same from add_poller() to
  /// remove_poller().
  [[nodiscard]] virtual Look look() const noexcept = 0;
  /// Goes up with each piece of work that is done.
  [[nodiscard]] virtual std::uint64_t work_done() const noexcept = 0;

 protected:
  ~Poller() = default;
};

/// Called when a point in time has come.
class TimerHandler {
 public:
  virtual void on_timer() noexcept = 0;

 protected:
  ~TimerHandler() = default;
};

enum class LoopKind { kIoUring, kEpoll };

/// One thread's loop over eventfds, timers, disk I/O and messages from other threads. One round:
/// take what is ready, call the handlers, run the deferred tasks, then submit everything that they
/// queued and wait, in one system call where io_uring carries the loop.
///
/// Threads: post() and stop() from anywhere; everything else from the loop's thread, or from any
/// one thread while the loop is not running. The thread that runs the first round is the loop's
/// thread for good: an io_uring may be bound to it.
class EventLoop {
 public:
  /// Errors: the kernel lacks or forbids what this kind needs.
  static Result<std::unique_ptr<EventLoop>> create(LoopKind kind);

  virtual ~EventLoop() = default;
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  [[nodiscard]] virtual LoopKind kind() const noexcept = 0;

  /// Calls `handler` whenever `event` is signalled, until unwatch(). Both must outlive the watch.
  virtual Status watch(const EventFd& event, EventHandler& handler) = 0;
  /// Ends the watch. No call to the handler comes after it. Returns what the loop had already taken
  /// from the counter but not delivered: the caller must serve it (the last kick).
  virtual std::uint64_t unwatch(const EventFd& event) noexcept = 0;

  /// Waits for `fd` whenever FdWatch::arm() asks for it: no descriptor that stays ready keeps the
  /// loop from sleeping. `fd` and the handler must outlive the watch. Arming costs no system call
  /// of its own on io_uring, one on epoll. Errors: a descriptor that cannot be waited for.
  virtual Result<std::unique_ptr<FdWatch>> watch_fd(int fd, Readiness readiness,
                                                    ReadyHandler& handler) = 0;

  /// Adds one to `event` (an irqfd, a call fd) with the next submission; it must stay open until
  /// then (unwatch() submits too). At most one system call for all that a round signals on
  /// io_uring, one each on epoll; two at once for an event that another process has as well.
  virtual void signal(const EventFd& event) noexcept = 0;

  /// Runs `task` at the end of this round, after all handlers. A task that defers itself runs
  /// again, in this round or the next, and the loop does not block meanwhile.
  void defer(Task& task) noexcept;
  /// Takes a deferred task back, before it is destroyed. Nothing happens if it was not deferred.
  void cancel_deferred(Task& task) noexcept;

  /// From now on `poller` is asked before the loop sleeps.
  void add_poller(Poller& poller);
  void remove_poller(Poller& poller) noexcept;
  /// How long the loop may look for work before it sleeps; 0: not at all. It looks only as long as
  /// that pays: credit is earned by finding work and by sleeps shorter than this, and lost by
  /// longer ones, so that a loop with little to do sleeps at once.
  void set_poll_max(std::chrono::nanoseconds max) noexcept { poll_max_ = max; }
  /// How long after the last work of a poller of Look::kAlways the loop looks on without a sleep.
  void set_poll_idle(std::chrono::nanoseconds idle) noexcept { poll_idle_ = idle; }

  /// Calls `handler` once at or after `delay` from now; starting it again moves it.
  virtual void start_timer(TimerHandler& handler, std::chrono::nanoseconds delay) = 0;
  virtual void stop_timer(TimerHandler& handler) noexcept = 0;

  /// The ring on which disk I/O can be queued for the next submission: user_data is an IoOp*.
  /// Null on epoll. Only the loop submits and reaps it, except that a full submission queue may be
  /// submitted early (io_uring_submit).
  [[nodiscard]] ::io_uring* uring() const noexcept { return uring_; }

  /// A slot of uring()'s table of registered files for `fd`, to be used with IOSQE_FIXED_FILE, or
  /// -1 if there is none to be had (epoll, an old kernel, all taken, not the loop's thread).
  [[nodiscard]] virtual int register_file(int fd) noexcept = 0;
  virtual void unregister_file(int slot) noexcept = 0;

  /// Runs `message` on the loop's thread. May allocate: control path only.
  virtual void post(std::function<void()> message) = 0;

  /// Makes the calling thread the one that runs the loop, before run(). Errors: the host refuses
  /// it; no thread can run this loop then.
  virtual Status claim() { return {}; }
  /// Runs rounds until stop().
  virtual void run() = 0;
  /// One round that waits at most `timeout`, and submits what it queued before it returns; for
  /// tests and for in-process drivers.
  virtual void run_once(std::chrono::nanoseconds timeout) = 0;
  virtual void stop() noexcept = 0;

  /// System calls made by the loop so far: for "system calls for a request". Any thread.
  [[nodiscard]] std::uint64_t system_calls() const noexcept { return system_calls_.get(); }

 protected:
  EventLoop() = default;
  /// Runs the deferred tasks, also (a few times over) those that they defer in turn.
  void run_deferred() noexcept;
  [[nodiscard]] bool has_deferred() const noexcept { return first_task_ != nullptr; }

  /// To be called when the loop is about to wait, for up to `limit`. True: do not.
  bool stay_awake(std::chrono::nanoseconds limit) noexcept;
  /// To be called after a wait, if stay_awake() was called before it.
  void slept() noexcept;
  /// Hands what is queued to the kernel, without waiting.
  virtual void flush() noexcept = 0;
  /// Whether the kernel has something for the loop, as far as that can be seen without asking it.
  [[nodiscard]] virtual bool has_news() const noexcept = 0;
  /// The same by asking, where it cannot be seen. A system call.
  [[nodiscard]] virtual bool ask_for_news() noexcept { return false; }

  ::io_uring* uring_ = nullptr;
  RelaxedCounter system_calls_;  ///< the loop's thread writes

 private:
  [[nodiscard]] bool may_pay() const noexcept {
    return may_pay_ != 0 && poll_max_ > std::chrono::nanoseconds(0);
  }
  [[nodiscard]] std::chrono::nanoseconds time_for_polled() noexcept;
  bool look_around(std::chrono::nanoseconds until) noexcept;
  /// A look of `look` has found nothing, and then there was work.
  void note_missed(std::chrono::nanoseconds look) noexcept;

  std::vector<Poller*> pollers_;
  std::vector<Poller*> polled_;  ///< those of Look::kAlways
  unsigned may_pay_ = 0;         ///< how many are of Look::kWhileItPays
  std::chrono::nanoseconds poll_max_{0};
  std::chrono::nanoseconds poll_idle_{0};
  static constexpr std::uint64_t kUnknown = UINT64_MAX;
  std::uint64_t polled_work_ = kUnknown;                  ///< of polled_, when last looked at
  std::chrono::steady_clock::time_point polled_since_{};  ///< when it had changed
  std::array<int, 2> poll_credit_{};                      ///< without and with work under way
  std::size_t poll_kind_ = 0;  ///< which of them the last idle time belongs to
  std::chrono::steady_clock::time_point idle_since_{};
  std::chrono::steady_clock::time_point no_look_before_{};  ///< for those of Look::kWhileItPays
  Task* first_task_ = nullptr;
  Task* last_task_ = nullptr;
};

}  // namespace bellhop
