#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "event/event_loop.h"
#include "memory/guest_span.h"

namespace bellhop {

enum class BlockOp : std::uint8_t { kRead, kWrite, kFlush, kDiscard, kWriteZeroes };

/// One request to what lies under a disk, embedded in the device's own request object. The caller
/// keeps it, its `data` and the guest memory alive until `done` is called; the back end keeps
/// nothing of it afterwards.
struct BlockIo : IoOp {
  BlockOp op = BlockOp::kRead;
  bool may_unmap = false;           ///< kWriteZeroes: the blocks may be given back
  std::uint64_t offset = 0;         ///< bytes
  std::uint64_t length = 0;         ///< bytes; for reads and writes the sum of `data`
  std::span<const GuestSpan> data;  ///< guest RAM, read or written in place
  /// Called once, on the thread that reaps, with 0 or -errno. May enqueue further requests.
  void (*completed)(BlockIo& io, int error) noexcept = nullptr;

  /// For the back end while the request is its own: no allocation on the data path.
  struct Scratch {
    BlockIo* next = nullptr;
    void* queue = nullptr;
    void* bounce = nullptr;
    std::uint64_t progress = 0;
    std::uint32_t retries = 0;
    bool alone = false;  ///< not to be joined with its neighbours (again)
    int error = 0;
    alignas(8) std::array<std::byte, 64> control{};  ///< an iocb of linux-aio fits in
  } scratch;
};

/// Who calls a BlockQueue.
enum class QueueSharing {
  /// Only the loop's thread; completions arrive by the loop itself.
  kLoopOnly,
  /// A vCPU thread and the loop's thread, one at a time under the queue's queue lock: the owner
  /// watches
  /// completion_event() and calls reap() when it is signalled.
  kSharedWithVcpu,
};

struct BlockLimits {
  std::uint64_t capacity = 0;           ///< bytes, a multiple of logical_block; when it was opened
  std::uint32_t logical_block = 512;    ///< bytes
  std::uint32_t physical_block = 4096;  ///< bytes
  bool read_only = false;
  bool can_discard = false;
  bool can_write_zeroes = false;
};

/// One stream of requests under one virtqueue. Not thread-safe: see QueueSharing. Destroyed when no
/// request is outstanding, by the loop's thread (or while the loop does not run).
class BlockQueue {
 public:
  virtual ~BlockQueue() = default;
  /// Takes a request; makes no system call. At most `depth` (of make_queue) may be outstanding.
  /// Invalid offsets were refused by the device already.
  virtual void enqueue(BlockIo& io) noexcept = 0;
  /// Hands all that was enqueued to the kernel, in at most one system call; with io_uring on the
  /// loop's own ring, none: they go with the loop's next submission. Then completes what has
  /// finished already.
  virtual void submit() noexcept = 0;
  /// Completes what has finished, without blocking.
  virtual void reap() noexcept = 0;
  /// kSharedWithVcpu: signalled when reap() has work and nobody is about to call it. Null else.
  [[nodiscard]] virtual const EventFd* completion_event() const noexcept = 0;
  /// kSharedWithVcpu: whether, from now on, the loop's thread alone uses it; at first it does not.
  /// While nothing is outstanding.
  virtual void set_loop_only(bool /*loop_only*/) noexcept {}
  /// System calls made by this queue itself.
  [[nodiscard]] virtual std::uint64_t system_calls() const noexcept = 0;
};

/// What lies under a disk. Thread-safe once open; each virtqueue makes its own BlockQueue.
class BlockBackend {
 public:
  virtual ~BlockBackend() = default;
  [[nodiscard]] virtual const BlockLimits& limits() const noexcept = 0;
  /// The capacity now, in bytes: looks at the medium, which may have grown or been cut since it was
  /// opened. Part of a logical block at its end does not count. Any thread. Errors: the host does
  /// not tell.
  [[nodiscard]] virtual Result<std::uint64_t> measure() const { return limits().capacity; }
  /// "io_uring", "native", "threads", "null".
  [[nodiscard]] virtual const char* kind() const noexcept = 0;
  /// Has now what `queues` queues of `depth` requests will need of the host: no driver is to find a
  /// disk for which the host has nothing left. Errors: the host refuses some.
  virtual Status reserve(unsigned /*queues*/, unsigned /*depth*/, QueueSharing /*sharing*/,
                         LoopKind /*loop*/) {
    return {};
  }
  /// Errors: the host has no descriptor left.
  virtual Result<std::unique_ptr<BlockQueue>> make_queue(EventLoop& loop, QueueSharing sharing,
                                                         unsigned depth) = 0;
};

}  // namespace bellhop
