#pragma once

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
};

}  // namespace bellhop
