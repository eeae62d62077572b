#pragma once

#include <cstdint>

#include "guest/cpu.h"
#include "guest/queue_counters.h"
#include "guest/transport.h"
#include "virtio/abi/ring.h"

// The driver's side of a packed virtqueue (virtio 1.3 section 2.8).
namespace bellhop::guest {

/// One queue, one vCPU, with the contract of SplitQueue. Its descriptors are models: chains are
/// prepared in them once, linked as in a split ring, and copied to the ring by each `push`.
class PackedQueue {
 public:
  /// Lays out a ring of `size` entries in fresh memory, and so many bytes behind it.
  bool create(std::uint32_t size, bool event_idx, std::size_t behind = 0);
  /// Those bytes: at the first multiple of kStampsAlign behind the device event.
  void* behind() { return behind_; }
  bool enable(Transport* transport, std::uint16_t index, unsigned counter, std::uint32_t cpu);

  /// As SplitQueue::clear().
  void clear();

  /// As SplitQueue::use_in_order(). False: out of memory.
  bool use_in_order();

  virtio::Desc* descriptors() { return models_; }
  const Notifier& notifier() const { return notifier_; }
  const QueueCounters& counters() const { return counters_; }

  /// Adds the chain whose models begin at `head`, which is its buffer id, too.
  void push(std::uint16_t head) {
    std::uint16_t count = 0;
    bool more = true;
    for (std::uint16_t at = head; more; at = models_[at].next) {
      const virtio::Desc& model = models_[at];
      more = (model.flags & virtio::kDescNext) != 0;
      put({model.addr, model.len, head, model.flags});
      ++count;
    }
    slots_[head] = count;
    if (order_ != nullptr) order_[pushed_++ % size_] = head;
  }

  /// Shows what is pushed so far to a device that happens to look, without ringing.
  void show() {
    if (!hidden_) return;
    hidden_ = false;
    // The flags of the first come after all else (pairs with the device's acquire of them).
    store_release(&ring_[first_].flags, first_flags_);
  }

  /// Shows the batch to the device and rings if it wants to hear of it.
  void publish() {
    show();
    if (unpublished_ == 0) return;
    // The flags must be visible before the device's event suppression is read; pairs with the
    // device's fence between enabling notifications and its last look at the ring.
    full_fence();
    const std::uint16_t flags = load_acquire(&device_->flags);
    const bool wanted =
        flags == virtio::kRingEventFlagsDesc
            ? virtio::packed_need_event(load_relaxed(&device_->off_wrap), avail_.index, avail_.wrap,
                                        unpublished_, size_)
            : flags != virtio::kRingEventFlagsDisable;
    unpublished_ = 0;
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

  /// Takes the next finished request; false if there is none.
  bool pop(std::uint32_t* head, std::uint32_t* written) {
    if (!has_finished()) return false;
    if (!in_batch_) batch_ = {ring_[used_.index].id, ring_[used_.index].len};
    virtio::UsedElem used = batch_;
    if (order_ != nullptr) {
      const std::uint16_t next = order_[popped_++ % size_];
      in_batch_ = next != batch_.id;
      if (in_batch_) used = {next, 0};
    }
    *head = used.id;
    *written = used.len;
    const std::uint16_t slots = used.id < size_ ? slots_[used.id] : std::uint16_t{0};
    advance(&used_, slots == 0 ? std::uint16_t{1} : slots);
    return true;
  }

  /// Pairs with the device's release of the flags: what else it wrote comes before them.
  bool has_finished() const {
    return in_batch_ || virtio::packed_is_used(load_acquire(&ring_[used_.index].flags), used_.wrap);
  }

  /// Asks for an interrupt at the next finished request; true if there is one already.
  bool arm() {
    if (event_idx_) store_relaxed(&driver_->off_wrap, event_at(used_));
    store_release(&driver_->flags,
                  event_idx_ ? virtio::kRingEventFlagsDesc : virtio::kRingEventFlagsEnable);
    // Our event suppression must be visible before the last look; pairs with the device's fence
    // between the used flags and its look at our event suppression.
    full_fence();
    return has_finished();
  }

  /// Wants no interrupts for now.
  void disarm() { store_relaxed(&driver_->flags, virtio::kRingEventFlagsDisable); }

 private:
  void* behind_ = nullptr;
  struct Place {
    std::uint16_t index = 0;
    bool wrap = true;
  };

  static std::uint16_t event_at(Place place) {
    return virtio::packed_event_at(place.index, place.wrap);
  }
  void advance(Place* place, std::uint16_t slots) const {
    const std::uint32_t index = std::uint32_t{place->index} + slots;
    const bool wraps = index >= size_;
    place->index = static_cast<std::uint16_t>(wraps ? index - size_ : index);
    place->wrap ^= wraps;
  }
  void put(const virtio::PackedDesc& desc) {
    virtio::PackedDesc& entry = ring_[avail_.index];
    entry.addr = desc.addr;
    entry.len = desc.len;
    entry.id = desc.id;
    const auto flags =
        static_cast<std::uint16_t>(desc.flags | virtio::packed_avail_flags(avail_.wrap));
    if (hidden_) {
      store_relaxed(&entry.flags, flags);  // behind the first, whose flags are not there yet
    } else {
      hidden_ = true;
      first_ = avail_.index;
      first_flags_ = flags;
    }
    ++unpublished_;
    advance(&avail_, 1);
  }

  virtio::PackedDesc* ring_ = nullptr;
  virtio::PackedEvent* driver_ = nullptr;
  volatile virtio::PackedEvent* device_ = nullptr;
  virtio::Desc* models_ = nullptr;
  std::uint16_t* slots_ = nullptr;  ///< descriptors of the chain with this head
  std::uint16_t size_ = 0;
  std::uint16_t unpublished_ = 0;  ///< descriptors
  std::uint16_t first_ = 0;
  std::uint16_t first_flags_ = 0;
  bool hidden_ = false;  ///< descriptors from `first_` on are not shown yet
  bool event_idx_ = false;
  bool in_batch_ = false;
  virtio::UsedElem batch_{};        ///< of the batch that is being taken: its last request
  std::uint16_t* order_ = nullptr;  ///< heads as they were pushed, if the device keeps to that
  std::uint32_t pushed_ = 0;
  std::uint32_t popped_ = 0;
  Place avail_;
  Place used_;
  Notifier notifier_;
  QueueCounters counters_;
};

}  // namespace bellhop::guest
