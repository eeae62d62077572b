#include "block/file_queue.h"

#include <cassert>
#include <cerrno>

namespace bellhop {

FileQueue::FileQueue(Setup setup) noexcept
    : file_(setup.file),
      workers_(setup.workers),
      loop_(setup.loop),
      sharing_(setup.sharing),
      parts_(std::move(setup.parts)) {}

FileQueue::~FileQueue() {
  assert(outstanding_ == 0);
  if (watched_) loop_.unwatch(event());
}

Status FileQueue::watch_event() {
  if (sharing_ == QueueSharing::kSharedWithVcpu) return {};
  if (auto done = loop_.watch(event(), *this); !done) return done;
  watched_ = true;
  return {};
}

void FileQueue::on_event(std::uint64_t) noexcept { reap(); }

void FileQueue::enqueue(BlockIo& io) noexcept {
  ++outstanding_;
  if (begin_transfer(io, file_)) {
    for_buffers_.push(io);
    give_buffers();
  } else {
    hand_on(io);
  }
}

/// To those that wait for one, in turn. The others wait until one comes back; if none will, the
/// host has no memory left.
void FileQueue::give_buffers() noexcept {
  while (BlockIo* const io = for_buffers_.front()) {
    io->scratch.bounce = bounce_.take();
    if (io->scratch.bounce == nullptr && bounce_.in_use() != 0) return;
    (void)for_buffers_.pop();
    if (io->scratch.bounce != nullptr) {
      hand_on(*io);
    } else {
      io->scratch.error = -ENOMEM;
      failed_.push(*io);
    }
  }
}

void FileQueue::hand_on(BlockIo& io) noexcept {
  if (takes(io) && !file_.splits_block(io)) {
    pending_.push(io);
  } else {
    give_to_workers(io);
  }
}

void FileQueue::give_to_workers(BlockIo& io) noexcept {
  io.scratch.queue = &channel_;
  for_workers_.push(io);
}

void FileQueue::submit() noexcept {
  if (busy_) return;
  busy_ = true;
  flush();
  collect();
  busy_ = false;
}

void FileQueue::reap() noexcept {
  if (busy_) return;
  busy_ = true;
  collect();
  busy_ = false;
}

void FileQueue::flush() noexcept {
  bool progress = true;
  while (progress && has_work()) {
    outstanding_ += joints_.join(pending_, joint_bytes()) + joints_.join(for_workers_);
    progress = !pending_.empty() && submit_pending();
    while (BlockIo* const io = failed_.pop()) complete(*io, io->scratch.error);
    if (!for_workers_.empty()) {
      ++system_calls_;
      workers_.hand_over(for_workers_);
      progress = true;
    }
  }
}

void FileQueue::collect() noexcept {
  reap_engine();
  IoList finished = channel_.drain();
  while (BlockIo* const io = finished.pop()) complete(*io, io->scratch.error);
  if (has_work()) flush();
}

void FileQueue::stepped(BlockIo& io, int result) noexcept {
  if (advance(io, result) == TransferState::kMore) {
    pending_.push(io);
  } else {
    complete(io, io.scratch.error);
  }
}

/// One part may be what failed: each is tried by itself then, and gets the answer that is its own.
void FileQueue::joint_completed(BlockIo& io, int error) noexcept {
  auto& joint = static_cast<JointIo&>(io);
  FileQueue& queue = *static_cast<FileQueue*>(joint.owner);
  IoList parts = std::exchange(joint.parts, {});
  queue.joints_.give_back(joint);
  while (BlockIo* const part = parts.pop()) {
    if (error == 0) {
      queue.complete(*part, 0);
    } else {
      part->scratch.alone = true;
      queue.hand_on(*part);
    }
  }
}

void FileQueue::complete(BlockIo& io, int error) noexcept {
  end_transfer(io, bounce_);
  if (!for_buffers_.empty()) give_buffers();
  --outstanding_;
  io.completed(io, error);
}

}  // namespace bellhop
