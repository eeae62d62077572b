#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "block/disk_file.h"
#include "block/io_list.h"

namespace bellhop {

/// Where workers leave what they have done, for one queue. Any number of workers push, one thread
/// at a time drains; `event` is signalled when there is something to drain where there was nothing.
class CompletionChannel {
 public:
  explicit CompletionChannel(const EventFd& event) noexcept : event_(event) {}
  /// Waits until no worker is between its push and its signal.
  ~CompletionChannel();
  CompletionChannel(const CompletionChannel&) = delete;
  CompletionChannel& operator=(const CompletionChannel&) = delete;

  /// Workers only. `io.scratch.error` is the outcome.
  void push(BlockIo& io) noexcept;
  /// All that is done, first done first.
  [[nodiscard]] IoList drain() noexcept;

 private:
  const EventFd& event_;
  std::atomic<BlockIo*> newest_{nullptr};
  std::atomic<unsigned> pushing_{0};
};

/// Threads that do blocking requests on one image, shared by its queues. They start when there is
/// work, up to a bound. This is the one place where queues of the same disk share a lock: a request
/// that goes through here costs a thread switch or two in any case.
class WorkerPool {
 public:
  static constexpr unsigned kMaxWorkers = 16;

  explicit WorkerPool(const DiskFile& file) : file_(file) { workers_.reserve(kMaxWorkers); }
  /// Finishes what was handed over, then joins.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// Takes all of `work`; each request's `scratch.queue` is the CompletionChannel to answer to.
  /// Makes at most one system call, but for starting a thread. Any thread.
  void hand_over(IoList& work) noexcept;

 private:
  void work() noexcept;
  // All three with mutex_ held; execute() lets go of it meanwhile.
  bool get_help() noexcept;
  void start_worker() noexcept;
  void execute(BlockIo& io, std::unique_lock<std::mutex>& lock) noexcept;

  const DiskFile& file_;
  std::mutex mutex_;
  std::condition_variable wake_;
  IoList waiting_;
  unsigned sleeping_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace bellhop
