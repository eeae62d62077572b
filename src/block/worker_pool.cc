#include "block/worker_pool.h"

#include <pthread.h>

#include <utility>

#include "base/thread.h"

namespace bellhop {

CompletionChannel::~CompletionChannel() {
  // Pairs with the release in push(): after it the worker touches nothing of ours.
  while (pushing_.load(std::memory_order_acquire) != 0) std::this_thread::yield();
}

void CompletionChannel::push(BlockIo& io) noexcept {
  // Before the request becomes visible: from then on the queue may be destroyed.
  pushing_.fetch_add(1, std::memory_order_relaxed);
  BlockIo* before = newest_.load(std::memory_order_relaxed);
  do {
    io.scratch.next = before;
    // Release: drain() acquires the outcome, and the count above with it.
  } while (!newest_.compare_exchange_weak(before, &io, std::memory_order_release,
                                          std::memory_order_relaxed));
  if (before == nullptr) event_.signal();
  pushing_.fetch_sub(1, std::memory_order_release);
}

IoList CompletionChannel::drain() noexcept {
  IoList list;
  if (newest_.load(std::memory_order_relaxed) == nullptr) return list;
  BlockIo* io = newest_.exchange(nullptr, std::memory_order_acquire);
  while (io != nullptr) {
    BlockIo* const older = io->scratch.next;
    list.push_front(*io);
    io = older;
  }
  return list;
}

WorkerPool::~WorkerPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void WorkerPool::hand_over(IoList& list) noexcept {
  if (list.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    waiting_.append(list);
    if (get_help()) return;
  }
  // The host refuses even a first thread: slow is better than never.
  std::unique_lock lock(mutex_);
  while (BlockIo* const io = waiting_.pop()) execute(*io, lock);
}

bool WorkerPool::get_help() noexcept {
  // One is enough: whoever takes a request while more are waiting gets the next one.
  if (sleeping_ != 0) {
    wake_.notify_one();
  } else if (workers_.size() < kMaxWorkers) {
    start_worker();
  }
  return !workers_.empty();
}

void WorkerPool::start_worker() noexcept {
  // No thread to be had: hand_over() does without.
  if (auto worker = start_thread(ThreadKind::kDiskWorker, "a disk",
                                 ThreadWork{.run = [this] { work(); },
                                            .prepare =
                                                [] {
                                                  pthread_setname_np(pthread_self(), "disk-worker");
                                                  return Status();
                                                }})) {
    workers_.push_back(std::move(*worker));
  }
}

void WorkerPool::work() noexcept {
  std::unique_lock lock(mutex_);
  while (true) {
    if (BlockIo* const io = waiting_.pop()) {
      if (!waiting_.empty()) get_help();
      execute(*io, lock);
    } else if (stopping_) {
      return;
    } else {
      ++sleeping_;
      wake_.wait(lock);
      --sleeping_;
    }
  }
}

void WorkerPool::execute(BlockIo& io, std::unique_lock<std::mutex>& lock) noexcept {
  lock.unlock();
  auto* const channel = static_cast<CompletionChannel*>(io.scratch.queue);
  io.scratch.error = file_.execute(io);
  channel->push(io);
  lock.lock();
}

}  // namespace bellhop
