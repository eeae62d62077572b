#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>

#include "base/result.h"

namespace bellhop {

/// What a thread is for. What it may ask of the kernel follows from that (src/sandbox).
enum class ThreadKind : std::uint8_t {
  kMain,        ///< the machine's loop: commands, resets, the end
  kMainAdds,    ///< the same, of a machine that can be given devices while it lives
  kVcpu,        ///< runs a guest; with notify=sync it drains queues, too
  kIo,          ///< an IoThread that serves queues
  kTuner,       ///< changes how queues are notified
  kApi,         ///< clients of the API
  kVhostUser,   ///< messages of a vhost-user front end
  kDiskWorker,  ///< blocking requests on one image
  kConnector,   ///< makes one connection, for a thread that may not
  kSignals,
  kTerminal,
  kSerial,
  kStarter,  ///< ThreadStarter's
  kOther,    ///< none of a machine's: never confined
};

/// A thread's work. What it opens for itself it opens in `prepare`, before it is confined; the
/// errors of both are start_thread()'s.
struct ThreadWork {
  std::function<void()> run;
  std::function<Status()> prepare = {};
};

/// The only place where threads are made. The new one takes no signal but those of its own faults:
/// others are the main thread's to handle. A thread that is confined itself has it made by the
/// ThreadStarter, with its own CPU set as ever. Errors: the host allows no more threads, the
/// message names `what`; those of preparing and confining it.
Result<std::thread> start_thread(ThreadKind kind, std::string_view what, ThreadWork work);
inline Result<std::thread> start_thread(ThreadKind kind, std::string_view what,
                                        std::function<void()> run) {
  return start_thread(kind, what, ThreadWork{.run = std::move(run)});
}

/// Runs `body` on a thread of its own and waits for its end: for work that is pinned to CPUs while
/// the caller's CPU set stays as it is, or that the caller may not do itself. Errors: as
/// start_thread().
Status run_on_thread(ThreadKind kind, std::string_view what, std::function<void()> body);

/// Restricts the calling thread, and those that it starts, for good.
using Confinement = std::function<Status(ThreadKind kind)>;
/// From here on every new thread is confined, but those of kOther. Set by the main thread before it
/// starts one; null: none is any more.
void set_confinement(Confinement confinement);
/// Confines the calling thread, as start_thread() does for new ones. Nothing if there is no
/// confinement.
Status confine_this_thread(ThreadKind kind);
/// Whether the calling thread is.
[[nodiscard]] bool is_confined() noexcept;

/// Makes threads for those that may not: a thread inherits the restrictions of the one that made
/// it, so a vCPU's or an I/O thread's child could do no more than they can. There is at most one.
class ThreadStarter {
 public:
  /// Errors: as start_thread().
  static Result<std::unique_ptr<ThreadStarter>> create();
  /// No thread may be started by confined ones any more.
  ~ThreadStarter();
  ThreadStarter(const ThreadStarter&) = delete;
  ThreadStarter& operator=(const ThreadStarter&) = delete;

  Result<std::thread> start(ThreadKind kind, std::string_view what, ThreadWork work);

 private:
  struct Order;
  ThreadStarter() = default;
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  Order* order_ = nullptr;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace bellhop
