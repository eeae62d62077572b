#pragma once

#include <cstdint>

#include "guest/cpu.h"
#include "guest/queue_counters.h"
#include "guest/transport.h"
#include "virtio/abi/ring.h"
#include "virtio/abi/stamps.h"

// The driver's side of a split virtqueue (virtio 1.3 section 2.7).
namespace bellhop::guest {

/// One queue, one vCPU. Who owns it prepares descriptors once; a request is then one head on the
/// available ring. Publishing, kicking and asking for interrupts go once for a batch.
class SplitQueue {
 public:
  /// Lays out a ring of `size` (a power of two) entries in fresh memory, and so many bytes behind
  /// it.
  bool create(std::uint32_t size, bool event_idx, std::size_t behind = 0);
  /// Those bytes: at the first multiple of kStampsAlign behind the used ring.
  void* behind() { return behind_; }

  /// Fits the device's queue `index` to this ring.
  bool enable(Transport* transport, std::uint16_t index, unsigned counter, std::uint32_t cpu);

  /// Empties the ring, for use after a reset of the device or of the queue.
  void clear();

  /// The device uses buffers in order (VIRTIO_F_IN_ORDER): one used entry may stand for a batch.
  void use_in_order() { in_order_ = true; }

  virtio::Desc* descriptors() { return desc_; }
  std::uint32_t size() const { return size_; }
  QueueAddresses addresses() const;
  const Notifier& notifier() const { return notifier_; }
  const QueueCounters& counters() const { return counters_; }

  /// Adds `head` to the batch; the device sees it after `publish`.
  void push(std::uint16_t head) {
    avail_ring_[avail_next_ & mask_] = head;
    ++avail_next_;
  }

  /// Shows what is pushed so far to a device that happens to look, without ringing.
  void show() { store_release(&avail_->idx, avail_next_); }

  /// Shows the batch to the device and rings if it wants to hear of it.
  void publish() {
    if (avail_next_ == avail_published_) return;
    store_release(&avail_->idx, avail_next_);
    // The index must be visible before the device's suppression state is read; pairs with the
    // device's fence between enabling notifications and its last look at the ring.
    full_fence();
    const bool wanted =
        event_idx_ ? virtio::need_event(load_relaxed(avail_event_), avail_next_, avail_published_)
                   : (load_relaxed(&used_->flags) & virtio::kUsedNoNotify) == 0;
    avail_published_ = avail_next_;
    if (wanted) {
      kick();
    } else {
      ++counters_.suppressed;
    }
  }

  /// Rings without asking.
  void kick() {
    ++counters_.kicks;
    ring(notifier_);
  }

  /// Takes the next finished request; false if there is none. Of those that one used entry stands
  /// for, all but the last count as written to completely, and `written` is 0.
  bool pop(std::uint32_t* head, std::uint32_t* written) {
    // Pairs with the device's release of used.idx: the element and the data come after it.
    if (load_acquire(&used_->idx) == used_next_) return false;
    if (!in_batch_) batch_ = used_ring_[used_next_ & mask_];
    virtio::UsedElem element = batch_;
    if (in_order_) {
      const std::uint16_t next = avail_ring_[used_next_ & mask_];
      in_batch_ = next != batch_.id;
      if (in_batch_) element = {next, 0};
    }
    ++used_next_;
    *head = element.id;
    *written = element.len;
    return true;
  }

  bool has_finished() const { return load_acquire(&used_->idx) != used_next_; }

  /// Asks for an interrupt at the next finished request; true if there is one already.
  bool arm() {
    if (event_idx_) {
      store_relaxed(used_event_, used_next_);
    } else {
      store_relaxed(&avail_->flags, std::uint16_t{0});
    }
    // The suppression state must be visible before the last look; pairs with the device's fence
    // between publishing used.idx and reading the suppression state.
    full_fence();
    return has_finished();
  }

  /// Wants no interrupts for now. With EVENT_IDX nothing need be done while reaping, since the
  /// event passed by; a driver that never halts calls this after each batch.
  void disarm() {
    if (event_idx_) {
      store_relaxed(used_event_, static_cast<std::uint16_t>(used_next_ + 0x8000));
    } else {
      store_relaxed(&avail_->flags, virtio::kAvailNoInterrupt);
    }
  }

 private:
  friend class RingVandal;  // hostile cases write nonsense into the ring

  virtio::Desc* desc_ = nullptr;
  virtio::AvailHeader* avail_ = nullptr;
  std::uint16_t* avail_ring_ = nullptr;
  std::uint16_t* used_event_ = nullptr;
  volatile virtio::UsedHeader* used_ = nullptr;
  const virtio::UsedElem* used_ring_ = nullptr;
  const volatile std::uint16_t* avail_event_ = nullptr;
  void* behind_ = nullptr;
  std::uint32_t size_ = 0;
  std::uint16_t mask_ = 0;
  std::uint16_t avail_next_ = 0;
  std::uint16_t avail_published_ = 0;
  std::uint16_t used_next_ = 0;
  bool event_idx_ = false;
  bool in_order_ = false;
  bool in_batch_ = false;
  virtio::UsedElem batch_{};  ///< of the batch that is being taken: its last request
  Notifier notifier_;
  QueueCounters counters_;
};

}  // namespace bellhop::guest
