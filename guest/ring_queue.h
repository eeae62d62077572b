#pragma once

#include <cstdint>

#include "guest/packed_queue.h"
#include "guest/split_queue.h"
#include "virtio/abi/stamps.h"

namespace bellhop::guest {

/// A queue of either layout, with the contract of SplitQueue.
class RingQueue {
 public:
  /// `stamps`: a table behind it tells the device when requests are offered and seen.
  bool create(std::uint32_t size, bool event_idx, bool packed, bool stamps) {
    is_packed_ = packed;
    const std::size_t behind = stamps ? virtio::stamps_bytes(size) : 0;
    const bool created =
        packed ? packed_.create(size, event_idx, behind) : split_.create(size, event_idx, behind);
    if (!created || !stamps) return created;
    auto* const table =
        static_cast<virtio::StampsHeader*>(packed ? packed_.behind() : split_.behind());
    *table = {virtio::kStampsMagic, size};
    stamps_ = reinterpret_cast<virtio::Stamps*>(table + 1);
    return true;
  }
  bool enable(Transport* transport, std::uint16_t index, unsigned counter, std::uint32_t cpu) {
    return is_packed_ ? packed_.enable(transport, index, counter, cpu)
                      : split_.enable(transport, index, counter, cpu);
  }

  /// Empties the ring, for use after a reset of the device or of the queue.
  void clear() { is_packed_ ? packed_.clear() : split_.clear(); }

  /// The device uses buffers in order. After create(). False: out of memory.
  bool use_in_order() {
    if (is_packed_) return packed_.use_in_order();
    split_.use_in_order();
    return true;
  }

  bool packed() const { return is_packed_; }
  virtio::Desc* descriptors() { return is_packed_ ? packed_.descriptors() : split_.descriptors(); }
  const Notifier& notifier() const { return is_packed_ ? packed_.notifier() : split_.notifier(); }
  const QueueCounters& counters() const {
    return is_packed_ ? packed_.counters() : split_.counters();
  }

  void push(std::uint16_t head) { is_packed_ ? packed_.push(head) : split_.push(head); }
  void show() { is_packed_ ? packed_.show() : split_.show(); }
  void publish() { is_packed_ ? packed_.publish() : split_.publish(); }
  bool pop(std::uint32_t* head, std::uint32_t* written) {
    return is_packed_ ? packed_.pop(head, written) : split_.pop(head, written);
  }
  bool has_finished() const { return is_packed_ ? packed_.has_finished() : split_.has_finished(); }
  /// When the request at `head` is offered, and when its answer is found: TSC.
  void stamp_offered(std::uint16_t head, std::uint64_t now) {
    if (stamps_ != nullptr) stamps_[head].offered = now;
  }
  void stamp_seen(std::uint16_t head, std::uint64_t now) {
    if (stamps_ != nullptr) stamps_[head].seen = now;
  }
  bool arm() { return is_packed_ ? packed_.arm() : split_.arm(); }
  void disarm() { is_packed_ ? packed_.disarm() : split_.disarm(); }

 private:
  bool is_packed_ = false;
  virtio::Stamps* stamps_ = nullptr;
  SplitQueue split_;
  PackedQueue packed_;
};

}  // namespace bellhop::guest
