#pragma once

#include <atomic>
#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"
#include "virtio/abi/ring.h"
#include "virtio/ring/ring_common.h"
#include "virtio/ring/ring_state.h"

namespace bellhop {

/// A ring that was found to be sound, as a back end must know it to serve it. All pointers live
/// until QueueBackEnd::stop().
struct OffloadedRing : RingAreas {
  /// Where it stands, as vhost has it: the next entry of the available ring to take; of a packed
  /// ring packed_base().
  std::uint32_t base = 0;
  const EventFd* kick = nullptr;  ///< signalled by the driver's notifications
  /// To be signalled for the driver; null: it wants to hear nothing.
  const EventFd* call = nullptr;
  const EventFd* fault = nullptr;  ///< to be signalled if the ring is broken
};

/// How far the used ring of a split ring has got, as the driver sees it.
inline std::uint16_t used_index(const RingAreas& ring) noexcept {
  auto* const index = reinterpret_cast<std::uint16_t*>(ring.used + virtio::kUsedIdxOffset);
  return std::atomic_ref<std::uint16_t>(*index).load(std::memory_order_acquire);
}

/// Serves a queue in a device's place: the kernel's vhost, or another process.
/// Between start() and stop() nobody else touches the ring. Control path: one call at a time for
/// each queue, from any thread.
class QueueBackEnd {
 public:
  /// Errors: the host refuses. The ring is as it was then.
  virtual Status start(const OffloadedRing& ring) = 0;
  /// Everything that was taken has been given back when it returns. Returns where the ring stands,
  /// as OffloadedRing::base.
  virtual std::uint32_t stop() noexcept = 0;
  /// The driver is to be told by another event from now on, or (null) not at all. While started.
  virtual void call_changed(const EventFd* call) noexcept = 0;

 protected:
  ~QueueBackEnd() = default;
};

}  // namespace bellhop
