#include "guest/split_queue.h"

#include "guest/memory.h"
#include "virtio/abi/pci_legacy.h"

namespace bellhop::guest {

using namespace bellhop::virtio;

bool SplitQueue::create(std::uint32_t size, bool event_idx, std::size_t behind) {
  // One piece with the used ring on a page of its own: what legacy devices expect (2.7.2), and good
  // for all.
  const std::size_t used_offset =
      (desc_table_bytes(size) + avail_ring_bytes(size) + kLegacyPage - 1) / kLegacyPage *
      kLegacyPage;
  const std::size_t end = used_offset + used_ring_bytes(size);
  const std::size_t table = (end + kStampsAlign - 1) / kStampsAlign * kStampsAlign;
  auto* ring = static_cast<unsigned char*>(allocate(table + behind, kLegacyPage));
  if (ring == nullptr) return false;
  desc_ = reinterpret_cast<Desc*>(ring);
  unsigned char* avail = ring + desc_table_bytes(size);
  unsigned char* used = ring + used_offset;
  avail_ = reinterpret_cast<AvailHeader*>(avail);
  avail_ring_ = reinterpret_cast<std::uint16_t*>(avail + kAvailRingOffset);
  used_event_ = reinterpret_cast<std::uint16_t*>(avail + used_event_offset(size));
  used_ = reinterpret_cast<volatile UsedHeader*>(used);
  used_ring_ = reinterpret_cast<const UsedElem*>(used + kUsedRingOffset);
  avail_event_ = reinterpret_cast<const volatile std::uint16_t*>(used + avail_event_offset(size));
  behind_ = ring + table;
  size_ = size;
  mask_ = static_cast<std::uint16_t>(size - 1);
  event_idx_ = event_idx;
  return true;
}

void SplitQueue::clear() {
  __builtin_memset(avail_, 0, avail_ring_bytes(size_));
  __builtin_memset(const_cast<UsedHeader*>(used_), 0, used_ring_bytes(size_));
  avail_next_ = avail_published_ = used_next_ = 0;
  in_batch_ = false;
}

QueueAddresses SplitQueue::addresses() const {
  return {reinterpret_cast<std::uint64_t>(desc_), reinterpret_cast<std::uint64_t>(avail_),
          reinterpret_cast<std::uint64_t>(used_)};
}

bool SplitQueue::enable(Transport* transport, std::uint16_t index, unsigned counter,
                        std::uint32_t cpu) {
  return transport->enable_queue(index, size_, addresses(), counter, cpu, &notifier_);
}

}  // namespace bellhop::guest
