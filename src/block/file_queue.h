#pragma once

#include "block/block_backend.h"
#include "block/disk_file.h"
#include "block/engine_parts.h"
#include "block/io_list.h"
#include "block/joint_io.h"
#include "block/transfer.h"
#include "block/worker_pool.h"

namespace bellhop {

/// What the queues on a file have in common: the list of what was enqueued, bounce buffers, the
/// rare requests that go to the workers, and the one eventfd through which all that finishes later
/// is announced. An engine (io_uring, linux-aio, none) adds how reads and writes are done.
class FileQueue : public BlockQueue, protected EventHandler {
 public:
  struct Setup {
    const DiskFile& file;
    WorkerPool& workers;
    EventLoop& loop;
    QueueSharing sharing;
    EngineReserve::Lease parts;
  };

  ~FileQueue() override;
  FileQueue(const FileQueue&) = delete;
  FileQueue& operator=(const FileQueue&) = delete;

  void enqueue(BlockIo& io) noexcept final;
  void submit() noexcept final;
  void reap() noexcept final;
  [[nodiscard]] const EventFd* completion_event() const noexcept final {
    return sharing_ == QueueSharing::kSharedWithVcpu ? &event() : nullptr;
  }
  [[nodiscard]] std::uint64_t system_calls() const noexcept final { return system_calls_; }

 protected:
  explicit FileQueue(Setup setup) noexcept;
  /// Has the loop watch event() if nobody else does. Errors: the host refuses it.
  Status watch_event();

  /// Whether the engine itself does such a request; the workers do the others.
  [[nodiscard]] virtual bool takes(const BlockIo& io) const noexcept = 0;
  /// Hands pending() to the kernel; what it has no room for may stay there while others are in
  /// flight. Calls stepped() for what is finished already. False if nothing could be handed over.
  virtual bool submit_pending() noexcept = 0;
  /// Calls stepped() for what the engine has finished.
  virtual void reap_engine() noexcept = 0;

  /// Up to how many bytes neighbours that wait together go to the kernel as one request.
  [[nodiscard]] virtual std::uint64_t joint_bytes() const noexcept { return JointIo::kMaxBytes; }

  /// A step of `io` has ended with `result`: goes on with the next one, or completes it.
  void stepped(BlockIo& io, int result) noexcept;
  /// Whether something waits for submit(): a next step, or what a completion has enqueued.
  [[nodiscard]] bool has_work() const noexcept {
    return !pending_.empty() || !for_workers_.empty() || !failed_.empty();
  }
  /// Has the workers do what is left of `io`.
  void give_to_workers(BlockIo& io) noexcept;

  [[nodiscard]] IoList& pending() noexcept { return pending_; }
  [[nodiscard]] const DiskFile& file() const noexcept { return file_; }
  [[nodiscard]] EventLoop& loop() noexcept { return loop_; }
  [[nodiscard]] EngineParts& parts() noexcept { return *parts_; }
  [[nodiscard]] const EventFd& event() const noexcept { return (*parts_).event; }
  [[nodiscard]] QueueSharing sharing() const noexcept { return sharing_; }

  std::uint64_t system_calls_ = 0;

 private:
  void on_event(std::uint64_t count) noexcept final;
  static void joint_completed(BlockIo& io, int error) noexcept;
  void complete(BlockIo& io, int error) noexcept;
  void hand_on(BlockIo& io) noexcept;
  void give_buffers() noexcept;
  void flush() noexcept;
  void collect() noexcept;

  const DiskFile& file_;
  WorkerPool& workers_;
  EventLoop& loop_;
  const QueueSharing sharing_;
  EngineReserve::Lease parts_;  // goes back when no worker signals its event any more
  bool watched_ = false;
  bool busy_ = false;  // in submit() or reap(): what is enqueued meanwhile is taken along
  unsigned outstanding_ = 0;
  IoList pending_;
  IoList for_workers_;
  IoList failed_;  // refused in enqueue(), which must not complete
  IoList for_buffers_;
  BouncePool bounce_;
  JointPool joints_{this, &FileQueue::joint_completed};
  CompletionChannel channel_{event()};
};

}  // namespace bellhop
