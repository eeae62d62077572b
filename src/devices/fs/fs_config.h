#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "memory/guest_memory.h"
#include "virtio/notify_mode.h"
#include "virtio/virtio_device.h"

namespace bellhop {

/// `--fs tag=NAME,socket=PATH`
struct FsConfig {
  std::string id;           ///< "fs0", ... where not given
  std::string tag;          ///< the guest mounts it by this; 1 to 36 bytes
  std::string socket;       ///< where virtiofsd listens
  unsigned num_queues = 1;  ///< for requests, besides the one of high priority
  std::uint16_t queue_size = 1024;
  NotifyMode notify = NotifyMode::kIoEventFd;  ///< virtiofsd serves the queues: no other is there
  std::string iothread;                        ///< empty: the first. Looks whether virtiofsd lives
};

/// Queues in all.
[[nodiscard]] inline unsigned fs_queues(const FsConfig& config) noexcept {
  return config.num_queues + 1;
}

/// Errors: memory that is not shared, no virtiofsd at the socket, or one that lacks something.
Result<std::unique_ptr<VirtioDevice>> make_device(const FsConfig& config,
                                                  const GuestMemory& memory);

}  // namespace bellhop
