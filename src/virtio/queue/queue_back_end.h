#pragma once

#include <cstddef>
#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"
#include "memory/guest_memory.h"

namespace bellhop {

/// A ring that was found to be sound, as one must know it to serve it elsewhere. All pointers live
/// until QueueBackEnd::stop().
struct OffloadedRing {
  const GuestMemory* memory = nullptr;
  // Where its areas lie in this process.
  std::byte* desc = nullptr;
  std::byte* avail = nullptr;
  std::byte* used = nullptr;
  std::uint16_t size = 0;
  std::uint16_t next_avail = 0;   ///< the next entry of the available ring to take
  const EventFd* kick = nullptr;  ///< signalled by the driver's notifications
  const EventFd* call =
      nullptr;  ///< to be signalled for the driver; null: it wants to hear nothing
  const EventFd* fault = nullptr;  ///< to be signalled if the ring cannot be believed
};

/// Somebody outside of this process who serves a queue in a device's place: the kernel's vhost, or
/// another process.
/// Between start() and stop() nobody else touches the ring. Control path: one call at a time for
/// each queue, from any thread.
class QueueBackEnd {
 public:
  /// Errors: the host refuses. The ring is as it was then.
  virtual Status start(const OffloadedRing& ring) = 0;
  /// Everything that was taken has been given back when it returns. Returns the next entry of the
  /// available ring to take.
  virtual std::uint16_t stop() noexcept = 0;
  /// The driver is to be told by another event from now on, or (null) not at all. While started.
  virtual void call_changed(const EventFd* call) noexcept = 0;

 protected:
  ~QueueBackEnd() = default;
};

}  // namespace bellhop
