#include "event/uring_loop.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>

#include "event/ring_limits.h"

namespace bellhop {

namespace {

constexpr unsigned kEntries = 512;  // a full queue is submitted early, so this only sets the batch
constexpr unsigned kCompletions = 4096;
constexpr unsigned kFileSlots = 64;
constexpr std::uint64_t kSignalTag = 1;  // IoOp pointers are even

constexpr unsigned kBase = IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED;
// Best first; each line needs a newer kernel than the next (6.1, 6.0, 5.19, 5.10).
constexpr std::array kSetups{
    kBase | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    kBase | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    kBase | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    kBase,
};

}  // namespace

struct UringLoop::Watch : IoOp {
  UringLoop* loop = nullptr;
  const EventFd* event = nullptr;
  EventHandler* handler = nullptr;
  std::uint64_t count = 0;  // the kernel reads the counter into it
  bool armed = false;
  bool by_poll = false;  // the kernel does not wait on a non-blocking eventfd's read (before 5.18)

  void completed(int result) noexcept {
    armed = false;
    std::uint64_t taken = 0;
    if (by_poll) {
      if (result < 0) return;
      taken = event->consume();
    } else if (result == static_cast<int>(sizeof count)) {
      taken = count;
    } else if (result == -EAGAIN) {
      by_poll = true;
    } else if (result != -EINTR) {
      return;  // cancelled, or no eventfd at all: asking again would spin
    }
    // Armed first: the handler may unwatch, and the object may be gone when it returns.
    loop->arm(*this);
    if (taken != 0) handler->on_event(taken);
  }
};

struct UringLoop::PollOp : IoOp {
  ReadyHandler* handler = nullptr;
  int fd = -1;
  unsigned events = 0;
  bool armed = false;

  void completed(int result) noexcept {
    armed = false;
    if (result != -ECANCELED) handler->on_ready();
  }
};

/// A wait is a one-shot poll request.
class UringLoop::PollWatch final : public FdWatch {
 public:
  PollWatch(UringLoop& loop, int fd, Readiness readiness, ReadyHandler& handler)
      : loop_(loop), op_(std::make_unique<PollOp>()) {
    op_->done = [](IoOp& op, int result) noexcept { static_cast<PollOp&>(op).completed(result); };
    op_->handler = &handler;
    op_->fd = fd;
    op_->events = readiness == Readiness::kReadable   ? POLLIN
                  : readiness == Readiness::kWritable ? POLLOUT
                                                      : POLLRDHUP;
  }
  ~PollWatch() override {
    if (!op_->armed || loop_.cancel(*op_)) return;
    loop_.poll_orphans_.push_back(std::move(op_));
  }
  void arm() noexcept override {
    if (op_->armed) return;
    op_->armed = true;
    ::io_uring_sqe* const sqe = loop_.get_sqe();
    ::io_uring_prep_poll_add(sqe, op_->fd, op_->events);
    ::io_uring_sqe_set_data(sqe, static_cast<IoOp*>(op_.get()));
  }

 private:
  UringLoop& loop_;
  std::unique_ptr<PollOp> op_;
};

Result<std::unique_ptr<FdWatch>> UringLoop::watch_fd(int fd, Readiness readiness,
                                                     ReadyHandler& handler) {
  if (fd < 0) return fail("cannot watch a descriptor that is not open", EBADF);
  return std::make_unique<PollWatch>(*this, fd, readiness, handler);
}

Result<std::unique_ptr<EventLoop>> UringLoop::create() {
  std::unique_ptr<UringLoop> loop(new UringLoop());
  if (auto opened = loop->open_ring(); !opened) return forward(opened);
  if (auto opened = loop->mailbox_.open(); !opened) return forward(opened);
  if (auto done = loop->watch(loop->mailbox_.event(), loop->mailbox_); !done) return forward(done);
  return loop;
}

Status UringLoop::open_ring() {
  int error = -EINVAL;
  for (std::size_t i = 0; i < kSetups.size() && error == -EINVAL; ++i) {
    io_uring_params params{};
    params.flags = kSetups[i];
    params.cq_entries = kCompletions;
    error = ::io_uring_queue_init_params(kEntries, &ring_, &params);
  }
  if (error != 0) return fail_errno("io_uring is not to be had here", -error);
  ring_open_ = true;
  if ((ring_.features & IORING_FEAT_EXT_ARG) == 0 || (ring_.features & IORING_FEAT_NODROP) == 0) {
    return fail("the io_uring of this kernel is too old (5.11 is needed)", ENOSYS);
  }
  // Free slots for the files of disks. Without them their descriptors are used, so a refusal
  // (before 5.19) is no fault.
  if (::io_uring_register_files_sparse(&ring_, kFileSlots) == 0) free_slots_ = ~std::uint64_t{0};
  if (auto limited = limit_ring(ring_); !limited) return limited;
  ready_.reserve(std::size_t{2} * kCompletions);
  uring_ = &ring_;
  return {};
}

UringLoop::~UringLoop() {
  if (ring_open_) ::io_uring_queue_exit(&ring_);
}

Status UringLoop::claim() {
  if (const int error = enable(); error != 0) {
    return fail_errno("io_uring is not to be had here", -error);
  }
  return {};
}

int UringLoop::enable() noexcept {
  // From here on the calling thread is the only one that may submit.
  system_calls_.add();
  const int error = ::io_uring_enable_rings(&ring_);
  enabled_ = error == 0;
  if (!enabled_) return error;
  for (const auto& watch : watches_) arm(*watch);
  return 0;
}

::io_uring_sqe* UringLoop::get_sqe() noexcept {
  ::io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
  while (sqe == nullptr) {
    submit();
    sqe = ::io_uring_get_sqe(&ring_);
  }
  return sqe;
}

void UringLoop::arm(Watch& watch) noexcept {
  ::io_uring_sqe* const sqe = get_sqe();
  if (watch.by_poll) {
    ::io_uring_prep_poll_add(sqe, watch.event->get(), POLLIN);
  } else {
    ::io_uring_prep_read(sqe, watch.event->get(), &watch.count, sizeof watch.count, 0);
  }
  ::io_uring_sqe_set_data(sqe, static_cast<IoOp*>(&watch));
  watch.armed = true;
}

Status UringLoop::watch(const EventFd& event, EventHandler& handler) {
  if (!event.valid()) return fail("cannot watch an eventfd that is not open", EBADF);
  auto watch = std::make_unique<Watch>();
  watch->done = [](IoOp& op, int result) noexcept { static_cast<Watch&>(op).completed(result); };
  watch->loop = this;
  watch->event = &event;
  watch->handler = &handler;
  if (enabled_) arm(*watch);
  watches_.push_back(std::move(watch));
  return {};
}

std::uint64_t UringLoop::unwatch(const EventFd& event) noexcept {
  const auto found = std::ranges::find_if(
      watches_, [&](const auto& watch) { return watch->event->get() == event.get(); });
  if (found == watches_.end()) return 0;
  std::unique_ptr<Watch> watch = std::move(*found);
  watches_.erase(found);
  if (!watch->armed) return 0;

  const auto result = cancel(*watch);
  if (!result) {
    orphans_.push_back(std::move(watch));
    return 0;
  }
  const bool taken = !watch->by_poll && *result == static_cast<int>(sizeof watch->count);
  return taken ? watch->count : 0;
}

/// Takes an operation back and returns what it ended with; its `done` is not called. Nothing if
/// this is another thread than the loop's, after that one has ended: its requests have ended with
/// it, but their completions cannot be had from here.
std::optional<int> UringLoop::cancel(IoOp& op) noexcept {
  ::io_uring_sqe* const sqe = get_sqe();
  ::io_uring_prep_cancel(sqe, &op, 0);
  ::io_uring_sqe_set_data(sqe, nullptr);
  submit();
  const auto own = reinterpret_cast<std::uint64_t>(&op);
  std::size_t looked_at = ready_next_;
  while (true) {
    take_completions();
    for (; looked_at < ready_.size(); ++looked_at) {
      Completion& completion = ready_[looked_at];
      if (completion.user_data != own) continue;
      completion.user_data = 0;
      return completion.result;
    }
    system_calls_.add();
    const int got = ::io_uring_submit_and_wait(&ring_, 1);
    if (got < 0 && got != -EINTR && got != -EAGAIN && got != -EBUSY) return std::nullopt;
  }
}

void UringLoop::signal(const EventFd& event) noexcept {
  static constexpr std::uint64_t kOne = 1;
  if (!enabled_) return event.signal();
  if (event.shared()) {
    // io_uring would look at O_NONBLOCK, then the eventfd does: a peer could change it between.
    system_calls_.add(2);
    return event.signal();
  }
  ::io_uring_sqe* const sqe = get_sqe();
  ::io_uring_prep_write(sqe, event.get(), &kOne, sizeof kOne, 0);
  sqe->rw_flags = RWF_NOWAIT;
  if ((ring_.features & IORING_FEAT_CQE_SKIP) != 0) sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
  sqe->user_data = (static_cast<std::uint64_t>(event.get()) << 1) | kSignalTag;
}

void UringLoop::signal_failed(int fd, int error) noexcept {
  // A kernel that does not know RWF_NOWAIT on eventfds: events are not shared with others there.
  // One whose counter is at its maximum (EAGAIN) is signalled already.
  if (error != -EOPNOTSUPP) return;
  const std::uint64_t one = 1;
  system_calls_.add();
  [[maybe_unused]] const ssize_t written = ::write(fd, &one, sizeof one);
}

void UringLoop::start_timer(TimerHandler& handler, std::chrono::nanoseconds delay) {
  timers_.start(handler, delay);
}

void UringLoop::stop_timer(TimerHandler& handler) noexcept { timers_.stop(handler); }

int UringLoop::register_file(int fd) noexcept {
  if (free_slots_ == 0) return -1;
  const auto slot = static_cast<unsigned>(std::countr_zero(free_slots_));
  if (::io_uring_register_files_update(&ring_, slot, &fd, 1) != 1) return -1;
  free_slots_ &= ~(std::uint64_t{1} << slot);
  return static_cast<int>(slot);
}

void UringLoop::unregister_file(int slot) noexcept {
  if (slot < 0) return;
  const int none = -1;
  const auto index = static_cast<unsigned>(slot);
  // From another thread after the loop's has ended the slot is lost, with the ring soon after it.
  if (::io_uring_register_files_update(&ring_, index, &none, 1) != 1) return;
  free_slots_ |= std::uint64_t{1} << index;
}

void UringLoop::run() {
  if (!enabled_) (void)enable();  // a refusal is for who calls claim()
  // Saves looking up the ring's descriptor on every entry; belongs to the thread, not to the ring.
  const bool registered = ::io_uring_register_ring_fd(&ring_) == 1;
  while (!mailbox_.take_stop()) round(kForever);
  if (::io_uring_sq_ready(&ring_) != 0) submit();
  if (registered) (void)::io_uring_unregister_ring_fd(&ring_);
}

void UringLoop::run_once(std::chrono::nanoseconds timeout) {
  if (!enabled_) (void)enable();  // a refusal is for who calls claim()
  round(timeout);
  if (::io_uring_sq_ready(&ring_) != 0) submit();
}

void UringLoop::round(std::chrono::nanoseconds timeout) noexcept {
  const bool found = take_completions() || ready_next_ < ready_.size();
  if (found || has_deferred()) timeout = std::chrono::nanoseconds(0);
  // What is there already is served before the kernel is asked for more, unless something waits to
  // be submitted.
  if (!found || ::io_uring_sq_ready(&ring_) != 0) {
    timeout = timers_.wait(timeout);
    const bool sleep = timeout > std::chrono::nanoseconds(0) && !stay_awake(timeout);
    // Asked again: a poller may have started a timer instead of asking to be told.
    submit_and_wait(sleep ? timers_.wait(timeout) : std::chrono::nanoseconds(0));
    if (sleep) slept();
  }
  take_completions();
  dispatch();
  timers_.run_due();
  run_deferred();
}

bool UringLoop::must_enter() const noexcept {
  constexpr unsigned kWork = IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN;
  return ::io_uring_sq_ready(&ring_) != 0 || (IO_URING_READ_ONCE(*ring_.sq.kflags) & kWork) != 0;
}

void UringLoop::submit() noexcept {
  system_calls_.add();
  // On -EBUSY the completion queue has overflowed: make room and let the kernel flush it.
  if (::io_uring_submit_and_get_events(&ring_) == -EBUSY) take_completions();
}

void UringLoop::submit_and_wait(std::chrono::nanoseconds timeout) noexcept {
  if (timeout <= std::chrono::nanoseconds(0)) {
    if (must_enter()) submit();
    return;
  }
  system_calls_.add();
  if (timeout == kForever) {
    (void)::io_uring_submit_and_wait(&ring_, 1);
    return;
  }
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(timeout);
  __kernel_timespec time{.tv_sec = seconds.count(), .tv_nsec = (timeout - seconds).count()};
  ::io_uring_cqe* cqe = nullptr;
  (void)::io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &time, nullptr);
}

bool UringLoop::take_completions() noexcept {
  unsigned head = 0;
  unsigned count = 0;
  ::io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    ready_.push_back({cqe->user_data, cqe->res});
    ++count;
  }
  if (count != 0) ::io_uring_cq_advance(&ring_, count);
  return count != 0;
}

void UringLoop::dispatch() noexcept {
  // By index: unwatch() in a handler may add to the list.
  while (ready_next_ < ready_.size()) {
    const Completion completion = ready_[ready_next_++];
    if (completion.user_data == 0) continue;
    if ((completion.user_data & kSignalTag) != 0) {
      if (completion.result < 0) {
        signal_failed(static_cast<int>(completion.user_data >> 1), completion.result);
      }
      continue;
    }
    auto* const op = reinterpret_cast<IoOp*>(completion.user_data);  // NOLINT: our own pointer
    op->done(*op, completion.result);
  }
  ready_.clear();
  ready_next_ = 0;
}

}  // namespace bellhop
