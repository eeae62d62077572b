#pragma once

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "base/cpu_list.h"
#include "base/result.h"
#include "base/thread.h"
#include "event/event_loop.h"

namespace bellhop {

struct IoThreadConfig {
  std::string name = "io0";   ///< at most 15 bytes reach the kernel
  CpuList cpus;               ///< empty: wherever the scheduler likes
  bool prefer_epoll = false;  ///< io_uring switched off
  bool need_uring = false;    ///< do not start with epoll instead
  /// How long it may look for work before it sleeps, at most (EventLoop::set_poll_max).
  std::chrono::nanoseconds poll_max = std::chrono::microseconds(64);
  /// How long after the last request of a queue that is polled it looks on without a sleep.
  std::chrono::nanoseconds poll_idle = std::chrono::milliseconds(10);
  ThreadKind kind = ThreadKind::kIo;
  std::string place = {};  ///< of the file that asks for it: "machine.toml:5"; empty: none does
};

/// An event loop with a thread of its own, a name and a CPU set. Queues are mapped to it.
class IoThread {
 public:
  /// Starts the thread; returns once its loop runs. Errors: no loop, no thread, CPUs not allowed.
  static Result<std::unique_ptr<IoThread>> start(IoThreadConfig config);
  /// Stops the loop and joins. Whatever is mapped here must have been taken off before.
  ~IoThread();
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;

  [[nodiscard]] const IoThreadConfig& config() const noexcept { return config_; }
  [[nodiscard]] EventLoop& loop() noexcept { return *loop_; }
  [[nodiscard]] bool is_current() const noexcept;
  /// Runs `work` on the thread and returns when it has run. At once if called on the thread itself.
  void run_sync(const std::function<void()>& work);
  /// EventLoop::start_timer() of its loop, from any thread. What starts it from another must not go
  /// before the loop has taken its messages: run_sync() sees to that.
  void start_timer(TimerHandler& handler, std::chrono::nanoseconds delay);
  /// Kernel thread id, for CPU-time accounts and placement.
  [[nodiscard]] int tid() const noexcept { return tid_; }
  /// Where it may run.
  [[nodiscard]] const CpuList& cpus() const noexcept { return cpus_; }
  /// Pins the thread anew.
  Status set_cpus(const CpuList& cpus);

 private:
  IoThread() = default;
  Status prepare();

  IoThreadConfig config_;
  CpuList cpus_;
  std::unique_ptr<EventLoop> loop_;
  std::thread thread_;
  int tid_ = 0;
};

}  // namespace bellhop
