#include "block/engine_parts.h"

#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <iterator>

#include "base/thread.h"
#include "event/ring_limits.h"

namespace bellhop {

namespace {

constexpr unsigned kMinRing = 8;
constexpr unsigned kMaxRing = 4096;

}  // namespace

Result<AioContext> AioContext::create(unsigned depth) {
  AioContext context;
  context.depth_ = std::max(depth, 1U);
  // What libaio wraps, less its conventions.
  if (::syscall(SYS_io_setup, context.depth_, &context.id_) != 0) {
    return fail_errno(errno == EAGAIN
                          ? "aio=native: too many requests for /proc/sys/fs/aio-max-nr; raise it, "
                            "or use aio=io_uring or threads"
                          : "aio=native is not to be had here (aio=io_uring or threads may be)");
  }
  return context;
}

AioContext::~AioContext() {
  if (id_ != 0) ::syscall(SYS_io_destroy, id_);
}

Result<std::unique_ptr<QueueRing>> QueueRing::create(unsigned depth, int file,
                                                     const EventFd& event) {
  std::unique_ptr<QueueRing> made(new QueueRing());
  // Two threads submit and reap by turns, so the ring must not be bound to one of them.
  const unsigned entries = std::bit_ceil(std::clamp(depth, kMinRing, kMaxRing));
  if (const int error = ::io_uring_queue_init(entries, &made->ring_, IORING_SETUP_R_DISABLED);
      error < 0) {
    return fail_errno(
        "aio=io_uring is not to be had here (aio=threads is, or aio=native with cache=none)",
        -error);
  }
  made->open_ = true;
  if (::io_uring_register_files(&made->ring_, &file, 1) == 0) made->slot_ = 0;
  if (const int error = ::io_uring_register_eventfd(&made->ring_, event.get()); error < 0) {
    return fail_errno("io_uring takes no eventfd", -error);
  }
  if (auto limited = limit_ring(made->ring_); !limited) return forward(limited);
  if (const int error = ::io_uring_enable_rings(&made->ring_); error < 0) {
    return fail_errno("io_uring is not to be had here", -error);
  }
  return made;
}

QueueRing::~QueueRing() {
  if (open_) ::io_uring_queue_exit(&ring_);
}

Status EngineReserve::complete(EngineParts& parts, unsigned depth, bool own_ring) const {
  if (own_ring && engine_ == Aio::kIoUring && !parts.ring) {
    auto ring = QueueRing::create(depth, file_, parts.event);
    if (!ring) return forward(ring);
    parts.ring = std::move(*ring);
  }
  if (engine_ == Aio::kNative && !parts.aio.valid()) {
    auto context = AioContext::create(depth);
    if (!context) return forward(context);
    parts.aio = std::move(*context);
  }
  return {};
}

Status EngineReserve::try_engine() const {
  auto event = EventFd::create();
  if (!event) return forward(event);
  EngineParts parts{.event = std::move(*event), .ring = nullptr, .aio = {}};
  return complete(parts, 1, true);
}

Status EngineReserve::fill(unsigned queues, unsigned depth, bool own_rings) {
  for (unsigned i = 0; i < queues; ++i) {
    auto event = EventFd::create();
    if (!event) return forward(event);
    EngineParts parts{.event = std::move(*event), .ring = nullptr, .aio = {}};
    if (auto done = complete(parts, depth, own_rings); !done) return done;
    give_back(std::move(parts));
  }
  return {};
}

Result<EngineReserve::Lease> EngineReserve::take(unsigned depth, bool own_ring) {
  EngineParts parts;
  {
    const std::lock_guard lock(mutex_);
    // A ring is for who needs one.
    auto found = std::ranges::find_if(
        free_, [own_ring](const EngineParts& one) { return (one.ring != nullptr) == own_ring; });
    if (found == free_.end() && !free_.empty()) found = std::prev(free_.end());
    if (found != free_.end()) {
      parts = std::move(*found);
      free_.erase(found);
    }
  }
  if (!parts.event.valid()) {
    auto event = EventFd::create();
    if (!event) return forward(event);
    parts.event = std::move(*event);
  }
  if (parts.aio.valid() && parts.aio.depth() < depth) parts.aio = {};
  // A queue that was to be on its thread's ring, and for which no ioeventfd was left. In the
  // sandbox no thread that starts a queue may make a ring.
  const bool barred = own_ring && engine_ == Aio::kIoUring && !parts.ring && is_confined();
  const Status done = barred ? fail("no io_uring can be made any more (--seccomp)", EPERM)
                             : complete(parts, depth, own_ring);
  if (!done) {
    log_.warn("{}; this disk does with threads", done.error().message);
  }
  return Lease(*this, std::move(parts));
}

void EngineReserve::give_back(EngineParts parts) {
  const std::lock_guard lock(mutex_);
  free_.push_back(std::move(parts));
}

}  // namespace bellhop
