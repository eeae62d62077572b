#include "guest/disk.h"

#include "virtio/abi/config.h"
#include "virtio/abi/ring.h"

namespace bellhop::guest {

using namespace bellhop::virtio;

bool Disk::find(unsigned index) {
  transport_ = find_device(static_cast<std::uint16_t>(DeviceType::kBlock), index, &room_);
  return transport_ != nullptr;
}

bool Disk::negotiate(bool event_idx, bool indirect, bool packed, bool in_order, bool queue_reset) {
  std::uint64_t wanted = feature_mask(kFeatureVersion1) | feature_mask(kBlkFeatureSizeMax) |
                         feature_mask(kBlkFeatureSegMax) | feature_mask(kBlkFeatureReadOnly) |
                         feature_mask(kBlkFeatureBlkSize) | feature_mask(kBlkFeatureFlush) |
                         feature_mask(kBlkFeatureMultiqueue) | feature_mask(kBlkFeatureDiscard) |
                         feature_mask(kBlkFeatureWriteZeroes) |
                         feature_mask(kFeatureAccessPlatform);
  if (event_idx) wanted |= feature_mask(kFeatureEventIdx);
  if (indirect) wanted |= feature_mask(kFeatureIndirectDesc);
  if (packed) wanted |= feature_mask(kFeatureRingPacked);
  if (in_order) wanted |= feature_mask(kFeatureInOrder);
  if (queue_reset) wanted |= feature_mask(kFeatureRingReset);
  const char* error = transport_->negotiate(wanted, &offered_, &features_);
  if (error == nullptr && packed && !has(kFeatureRingPacked)) error = "no packed rings are offered";
  if (error == nullptr && in_order && !has(kFeatureInOrder)) error = "no use in order is offered";
  if (error == nullptr && queue_reset && !has(kFeatureRingReset)) {
    error = "no reset of single queues is offered";
  }
  if (error != nullptr) {
    error_ = error;
    return false;
  }
  std::uint32_t before = 0;
  do {
    before = transport_->config_generation();
    const std::uint64_t low = transport_->config_read32(offsetof(BlkConfig, capacity));
    const std::uint64_t high = transport_->config_read32(offsetof(BlkConfig, capacity) + 4);
    capacity_ = (low | high << 32) * kBlkSectorBytes;
    size_max_ =
        has(kBlkFeatureSizeMax) ? transport_->config_read32(offsetof(BlkConfig, size_max)) : 0;
    seg_max_ = has(kBlkFeatureSegMax) ? transport_->config_read32(offsetof(BlkConfig, seg_max)) : 1;
    max_queues_ = 1;
    if (has(kBlkFeatureMultiqueue)) {
      constexpr std::uint32_t kAt = offsetof(BlkConfig, num_queues);
      const auto queues_low = transport_->config_read8(kAt);
      const auto queues_high = transport_->config_read8(kAt + 1);
      max_queues_ = static_cast<std::uint32_t>(queues_low | queues_high << 8);
    }
  } while (before != transport_->config_generation());
  return true;
}

void Disk::go() { transport_->go(); }

void build_chain(RingQueue* queue, Slot* slot, std::uint32_t number, const ChainShape& shape,
                 Desc* table, std::uint32_t type) {
  const std::uint32_t count = shape.descriptors();
  const std::uint32_t base = shape.indirect ? 0 : number * count;
  Desc* desc = shape.indirect ? table : queue->descriptors();
  const std::uint16_t data_flags = type == kBlkTypeIn ? kDescWrite : std::uint16_t{0};
  const auto address = [](const volatile void* p) { return reinterpret_cast<std::uint64_t>(p); };
  const auto next = [](std::uint32_t at) { return static_cast<std::uint16_t>(at + 1); };

  slot->header = {type, 0, 0};
  desc[base] = {address(&slot->header), sizeof(slot->header), kDescNext, next(base)};
  std::uint32_t left = shape.block_bytes;
  std::uint32_t at = base + 1;
  for (std::uint64_t from = address(slot->data); left > 0; ++at) {
    const std::uint32_t bytes = left < shape.segment_bytes ? left : shape.segment_bytes;
    desc[at] = {from, bytes, static_cast<std::uint16_t>(data_flags | kDescNext), next(at)};
    from += bytes;
    left -= bytes;
  }
  desc[at] = {address(&slot->status), 1, kDescWrite, 0};
  if (shape.indirect && queue->packed()) {
    // There the flags come last, and entries follow each other without links.
    for (std::uint32_t i = 0; i < count; ++i) {
      table[i].next = static_cast<std::uint16_t>(table[i].flags & kDescWrite);
      table[i].flags = 0;
    }
  }
  slot->bytes = shape.block_bytes;
  slot->head = static_cast<std::uint16_t>(shape.indirect ? number : base);
  if (shape.indirect) {
    queue->descriptors()[number] = {
        address(table), static_cast<std::uint32_t>(count * sizeof(Desc)), kDescIndirect, 0};
  }
}

}  // namespace bellhop::guest
