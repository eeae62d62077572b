#pragma once

#include <cstdint>

#include "guest/ring_queue.h"
#include "guest/transport.h"
#include "virtio/abi/blk.h"

// A virtio block device (virtio 1.3 section 5.2) and the requests that go to it.
namespace bellhop::guest {

/// Device and driver features agreed upon, and what the configuration space says.
class Disk {
 public:
  Disk() = default;
  Disk(const Disk&) = delete;  // the transport is part of it
  Disk& operator=(const Disk&) = delete;

  /// The `index`-th disk; false if there is none.
  bool find(unsigned index);

  /// Resets the device and brings it to FEATURES_OK (3.1.1). On failure `error()` says where.
  bool negotiate(bool event_idx, bool indirect, bool packed = false, bool in_order = false,
                 bool queue_reset = false);
  /// Enables `queue` as number `index`; then `go` ends the initialisation with DRIVER_OK.
  template <class Queue>
  bool enable_queue(Queue* queue, std::uint16_t index, std::uint32_t cpu) {
    if (queue->enable(transport_, index, index, cpu)) return true;
    error_ = "queue cannot be enabled";
    return false;
  }
  void go();

  Transport* transport() { return transport_; }
  const char* error() const { return error_; }
  std::uint64_t offered() const { return offered_; }
  bool has(unsigned feature) const { return (features_ & virtio::feature_mask(feature)) != 0; }
  bool offers(unsigned feature) const { return (offered_ & virtio::feature_mask(feature)) != 0; }
  /// In bytes.
  std::uint64_t capacity() const { return capacity_; }
  std::uint32_t max_queues() const { return max_queues_; }
  std::uint32_t size_max() const { return size_max_; }
  std::uint32_t seg_max() const { return seg_max_; }
  std::uint32_t queue_max_size() { return transport_->queue_max_size(0); }

 private:
  TransportRoom room_;
  Transport* transport_ = nullptr;
  const char* error_ = "";
  std::uint64_t offered_ = 0;
  std::uint64_t features_ = 0;
  std::uint64_t capacity_ = 0;
  std::uint32_t max_queues_ = 1;
  std::uint32_t size_max_ = 0;
  std::uint32_t seg_max_ = 0;
};

/// One place for a request: header, data and status stay where they are, and so do the
/// descriptors, so that asking again means writing a sector number and one ring entry.
struct alignas(64) Slot {
  virtio::BlkRequestHeader header;
  volatile std::uint8_t status;
  std::uint8_t* data;
  std::uint64_t offset;  ///< in bytes
  std::uint64_t submitted;
  std::uint64_t generation;
  std::uint32_t bytes;
  std::uint16_t head;
  bool in_flight;
};
static_assert(sizeof(Slot) == 64);

/// How the chains of a queue are built.
struct ChainShape {
  std::uint32_t block_bytes;
  std::uint32_t segment_bytes;  ///< largest data descriptor
  bool indirect;

  std::uint32_t segments() const { return (block_bytes + segment_bytes - 1) / segment_bytes; }
  std::uint32_t descriptors() const { return segments() + 2; }
  /// Entries of the ring that one request takes.
  std::uint32_t ring_entries() const { return indirect ? 1 : descriptors(); }
};

/// Writes the descriptors of slot number `number`. `table` has room for shape.descriptors() entries
/// and is used by indirect shapes only. `type` is a request type that moves data.
void build_chain(RingQueue* queue, Slot* slot, std::uint32_t number, const ChainShape& shape,
                 virtio::Desc* table, std::uint32_t type);

/// Number of the slot whose chain begins at `head`.
inline std::uint32_t slot_number(std::uint32_t head, const ChainShape& shape) {
  return shape.indirect ? head : head / shape.descriptors();
}

}  // namespace bellhop::guest
