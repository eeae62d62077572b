#pragma once

#include <liburing.h>
#include <linux/aio_abi.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/log_limiter.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "block/block_backend.h"
#include "block/block_source.h"

namespace bellhop {

/// A context of linux-aio.
class AioContext {
 public:
  AioContext() noexcept = default;
  /// For so many requests at once. Errors: none to be had, or none of that size
  /// (/proc/sys/fs/aio-max-nr).
  static Result<AioContext> create(unsigned depth);
  AioContext(AioContext&& other) noexcept
      : id_(std::exchange(other.id_, 0)), depth_(std::exchange(other.depth_, 0)) {}
  AioContext& operator=(AioContext&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(depth_, other.depth_);
    return *this;
  }
  ~AioContext();

  [[nodiscard]] bool valid() const noexcept { return id_ != 0; }
  [[nodiscard]] aio_context_t id() const noexcept { return id_; }
  [[nodiscard]] unsigned depth() const noexcept { return depth_; }

 private:
  aio_context_t id_ = 0;
  unsigned depth_ = 0;
};

/// An io_uring of a queue's own, not bound to a thread.
class QueueRing {
 public:
  /// With one registered file, in slot 0 where the kernel takes it, and completions that signal
  /// `event`. Errors: the kernel lacks or forbids io_uring, or has no memory for it.
  static Result<std::unique_ptr<QueueRing>> create(unsigned depth, int file, const EventFd& event);
  ~QueueRing();
  QueueRing(const QueueRing&) = delete;
  QueueRing& operator=(const QueueRing&) = delete;

  [[nodiscard]] ::io_uring& ring() noexcept { return ring_; }
  [[nodiscard]] int slot() const noexcept { return slot_; }

 private:
  QueueRing() = default;

  ::io_uring ring_{};
  bool open_ = false;
  int slot_ = -1;  // -1: the kernel takes none
};

/// What a queue needs of the host for its engine.
struct EngineParts {
  EventFd event;
  std::unique_ptr<QueueRing> ring;  ///< io_uring, unless it is on the loop's ring
  AioContext aio;                   ///< native
};

/// Parts for the queues of one image: had when the machine starts, and kept from one driver to the
/// next, so that no driver finds a disk for which the host has nothing left. Any thread.
class EngineReserve {
 public:
  EngineReserve(Aio engine, int file) noexcept : engine_(engine), file_(file) {}

  /// Parts that go back to where they are from.
  class Lease {
   public:
    Lease(EngineReserve& home, EngineParts parts) noexcept
        : home_(&home), parts_(std::move(parts)) {}
    Lease(Lease&& other) noexcept
        : home_(std::exchange(other.home_, nullptr)), parts_(std::move(other.parts_)) {}
    Lease& operator=(Lease&&) = delete;
    ~Lease() {
      if (home_ != nullptr) home_->give_back(std::move(parts_));
    }
    [[nodiscard]] EngineParts& operator*() noexcept { return parts_; }
    [[nodiscard]] const EngineParts& operator*() const noexcept { return parts_; }
    [[nodiscard]] EngineParts* operator->() noexcept { return &parts_; }

   private:
    EngineReserve* home_;
    EngineParts parts_;
  };

  /// Whether the host has the engine at all. Errors: it has not, with what would do.
  [[nodiscard]] Status try_engine() const;
  /// Parts for `queues` queues of `depth` requests. Errors: the host refuses some.
  Status fill(unsigned queues, unsigned depth, bool own_rings);
  /// Of the reserve, or made. Where the host has no more for the engine, only the event is there: a
  /// line says so, and the queue does with threads. Errors: not even an event.
  Result<Lease> take(unsigned depth, bool own_ring);

 private:
  Status complete(EngineParts& parts, unsigned depth, bool own_ring) const;
  void give_back(EngineParts parts);

  const Aio engine_;
  const int file_;
  std::mutex mutex_;
  std::vector<EngineParts> free_;
  log::Limiter log_;  ///< a driver can start a queue again and again
};

}  // namespace bellhop
