#pragma once

#include <cstdint>

#include "guest/packed_queue.h"
#include "guest/split_queue.h"

namespace bellhop::guest {

/// A queue of either layout, with the contract of SplitQueue.
class RingQueue {
 public:
  bool create(std::uint32_t size, bool event_idx, bool packed) {
    is_packed_ = packed;
    return packed ? packed_.create(size, event_idx) : split_.create(size, event_idx);
  }
  bool enable(Transport* transport, std::uint16_t index, unsigned counter, std::uint32_t cpu) {
    return is_packed_ ? packed_.enable(transport, index, counter, cpu)
                      : split_.enable(transport, index, counter, cpu);
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
  bool arm() { return is_packed_ ? packed_.arm() : split_.arm(); }
  void disarm() { is_packed_ ? packed_.disarm() : split_.disarm(); }

 private:
  bool is_packed_ = false;
  SplitQueue split_;
  PackedQueue packed_;
};

}  // namespace bellhop::guest
