#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "apps/bellhop/clean_stop.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop {

/// Waits on a thread of its own for the signals that ask a program to end (SIGINT, SIGTERM, SIGHUP)
/// and then calls `stop`, once; where there is a clean stop, when that says so. A signal after that
/// calls `give_up` and ends the process at once. Whenever the terminal's window changes its size
/// (SIGWINCH), `resized` is called. A signal that was ignored when the program was started (nohup)
/// stays ignored.
class SignalWaiter {
 public:
  /// Called on a thread of its own.
  struct Hooks {
    std::function<void()> stop;
    std::function<void()> give_up = [] {};
    std::function<void()> resized = [] {};
    /// SIGHUP, where it does not ask the program to end. Null: it does.
    std::function<void()> hung_up = nullptr;
    CleanStop* clean_stop = nullptr;  ///< outlives the waiter
  };

  /// To be called before other threads are started; they inherit it.
  static void block_signals();

  /// Errors: no descriptor or thread left.
  static Result<std::unique_ptr<SignalWaiter>> start(Hooks hooks);
  ~SignalWaiter();
  SignalWaiter(const SignalWaiter&) = delete;
  SignalWaiter& operator=(const SignalWaiter&) = delete;

  /// Stops waiting and returns the signal for which `stop` was called, or 0.
  int finish();

 private:
  explicit SignalWaiter(Hooks hooks) : hooks_(std::move(hooks)) {}
  void wait();
  void take(int signal);
  /// Milliseconds until the clean stop has something to do; -1: nothing.
  [[nodiscard]] int time_left() const;

  Hooks hooks_;
  UniqueFd signals_;
  EventFd end_;
  std::atomic<int> signal_{0};
  CleanStop::Clock::time_point stopped_{};  ///< when a signal called `stop`
  std::thread thread_;
};

}  // namespace bellhop
