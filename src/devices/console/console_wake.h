#pragma once

#include "virtio/queue/queue_runner.h"

namespace bellhop {

/// Wakes a queue from wherever something happened that it waits for: on the I/O thread at once, and
/// from elsewhere, or where a vCPU may hold its queue lock, by a message. Any thread, with any
/// lock.
inline void wake_queue(QueueRunner& runner) noexcept {
  if (runner.drain() == Drain::kByIoThread && runner.thread().is_current()) {
    runner.wake();
  } else {
    runner.thread().loop().post([&runner] { runner.wake(); });
  }
}

}  // namespace bellhop
