#include "base/thread.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <atomic>
#include <cerrno>
#include <future>
#include <optional>
#include <system_error>
#include <utility>

namespace bellhop {

namespace {

class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    // A fault is the thread's own; where its signal is blocked, the kernel ends the process
    // whatever handler there is (memory/fault_guard.h, sandbox/refusal.h).
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGSYS);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

Confinement confinement;
std::atomic<ThreadStarter*> starter{nullptr};
thread_local bool confined = false;

Result<std::thread> make_thread(ThreadKind kind, std::string_view what, ThreadWork work) {
  const SignalsBlocked blocked;
  std::promise<Status> ready;
  auto outcome = ready.get_future();
  std::optional<std::thread> made;
  // std::thread can only report by an exception that there is none to be had.
  try {
    made.emplace([kind, work = std::move(work), ready = std::move(ready)]() mutable {
      Status done = work.prepare ? work.prepare() : Status();
      if (done) done = confine_this_thread(kind);
      const bool able = done.has_value();
      ready.set_value(std::move(done));
      if (able) work.run();
    });
  } catch (const std::system_error& problem) {
    const int code = problem.code().value();
    return fail_errno(fmt::format("cannot start the thread of {}{}", what,
                                  code == EAGAIN ? " (ulimit -u, pids.max)" : ""),
                      code);
  }
  if (auto done = outcome.get(); !done) {
    made->join();
    return forward(done);
  }
  return std::move(*made);
}

/// As a thread of the caller's would.
void run_where_caller_does(ThreadWork& work) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  if (::sched_getaffinity(0, sizeof cpus, &cpus) != 0) return;  // more CPUs than fit: not pinned
  work.prepare = [cpus, prepare = std::move(work.prepare)] {
    (void)::sched_setaffinity(0, sizeof cpus, &cpus);
    return prepare ? prepare() : Status();
  };
}

}  // namespace

Result<std::thread> start_thread(ThreadKind kind, std::string_view what, ThreadWork work) {
  ThreadStarter* const one = confined ? starter.load(std::memory_order_acquire) : nullptr;
  if (one == nullptr) return make_thread(kind, what, std::move(work));
  run_where_caller_does(work);
  return one->start(kind, what, std::move(work));
}

Status run_on_thread(ThreadKind kind, std::string_view what, std::function<void()> body) {
  auto thread = start_thread(kind, what, std::move(body));
  if (!thread) return forward(thread);
  thread->join();
  return {};
}

void set_confinement(Confinement wanted) { confinement = std::move(wanted); }

Status confine_this_thread(ThreadKind kind) {
  if (!confinement || kind == ThreadKind::kOther) return {};
  auto done = confinement(kind);
  confined = done.has_value();
  return done;
}

bool is_confined() noexcept { return confined; }

struct ThreadStarter::Order {
  ThreadKind kind;
  std::string_view what;
  ThreadWork work;
  std::optional<Result<std::thread>> made;
};

Result<std::unique_ptr<ThreadStarter>> ThreadStarter::create() {
  std::unique_ptr<ThreadStarter> made(new ThreadStarter());
  auto thread = start_thread(ThreadKind::kStarter, "other threads",
                             ThreadWork{.run = [one = made.get()] { one->run(); },
                                        .prepare =
                                            [] {
                                              ::pthread_setname_np(::pthread_self(), "starter");
                                              return Status();
                                            }});
  if (!thread) return forward(thread);
  made->thread_ = std::move(*thread);
  starter.store(made.get(), std::memory_order_release);
  return made;
}

ThreadStarter::~ThreadStarter() {
  starter.store(nullptr, std::memory_order_release);
  {
    const std::lock_guard hold(mutex_);
    ending_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

Result<std::thread> ThreadStarter::start(ThreadKind kind, std::string_view what, ThreadWork work) {
  Order order{.kind = kind, .what = what, .work = std::move(work), .made = std::nullopt};
  std::unique_lock hold(mutex_);
  changed_.wait(hold, [this] { return order_ == nullptr; });
  order_ = &order;
  changed_.notify_all();
  changed_.wait(hold, [&order] { return order.made.has_value(); });
  return std::move(*order.made);
}

void ThreadStarter::run() {
  std::unique_lock hold(mutex_);
  while (true) {
    changed_.wait(hold, [this] { return order_ != nullptr || ending_; });
    if (order_ == nullptr) return;
    Order& order = *order_;
    hold.unlock();
    auto made = make_thread(order.kind, order.what, std::move(order.work));
    hold.lock();
    order.made = std::move(made);
    order_ = nullptr;
    changed_.notify_all();
  }
}

}  // namespace bellhop
