#pragma once

#include <chrono>
#include <string>

#include "virtio/queue/notify_mode.h"
#include "virtio/queue/request_times.h"

namespace bellhop {

/// Where the time of the requests of one queue went, and how that queue was notified at the end.
struct QueueTimes {
  std::string device;  ///< its id
  unsigned queue = 0;
  NotifyMode notify = NotifyMode::kIoEventFd;
  RequestTimes times;
  std::string io_thread = {};                 ///< that drains it at the end; empty: vCPUs do
  std::chrono::nanoseconds io_thread_cpu{0};  ///< that it has used since its start
};

}  // namespace bellhop
