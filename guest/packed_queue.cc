#include "guest/packed_queue.h"

#include "guest/memory.h"

namespace bellhop::guest {

using namespace bellhop::virtio;

bool PackedQueue::create(std::uint32_t size, bool event_idx, std::size_t behind) {
  // The events on a cache line each, behind the ring.
  const std::size_t events = (desc_table_bytes(size) + 63) / 64 * 64;
  auto* ring = static_cast<unsigned char*>(allocate(events + 128 + behind, 64));
  models_ = allocate_array<Desc>(size);
  slots_ = allocate_array<std::uint16_t>(size);
  if (ring == nullptr || models_ == nullptr || slots_ == nullptr) return false;
  ring_ = reinterpret_cast<PackedDesc*>(ring);
  driver_ = reinterpret_cast<PackedEvent*>(ring + events);
  device_ = reinterpret_cast<volatile PackedEvent*>(ring + events + 64);
  behind_ = ring + events + 128;
  size_ = static_cast<std::uint16_t>(size);
  event_idx_ = event_idx;
  return true;
}

void PackedQueue::clear() {
  __builtin_memset(ring_, 0, desc_table_bytes(size_));
  __builtin_memset(driver_, 0, sizeof *driver_);
  __builtin_memset(const_cast<PackedEvent*>(device_), 0, sizeof *device_);
  avail_ = used_ = {};
  unpublished_ = 0;
  pushed_ = popped_ = 0;
  hidden_ = in_batch_ = false;
}

bool PackedQueue::use_in_order() {
  order_ = allocate_array<std::uint16_t>(size_);
  return order_ != nullptr;
}

bool PackedQueue::enable(Transport* transport, std::uint16_t index, unsigned counter,
                         std::uint32_t cpu) {
  const QueueAddresses addresses{reinterpret_cast<std::uint64_t>(ring_),
                                 reinterpret_cast<std::uint64_t>(driver_),
                                 reinterpret_cast<std::uint64_t>(device_)};
  return transport->enable_queue(index, size_, addresses, counter, cpu, &notifier_);
}

}  // namespace bellhop::guest
