#pragma once

#include <cstdint>

// Ring layouts of virtio 1.3, sections 2.7 (split) and 2.8 (packed), and the feature bits of
// section 6. Freestanding: shared by the VMM and by the bench guest. All fields little-endian.
namespace bellhop::virtio {

// Feature bit numbers (section 6).
inline constexpr unsigned kFeatureIndirectDesc = 28;
inline constexpr unsigned kFeatureEventIdx = 29;
inline constexpr unsigned kFeatureVersion1 = 32;
inline constexpr unsigned kFeatureAccessPlatform = 33;
inline constexpr unsigned kFeatureRingPacked = 34;
inline constexpr unsigned kFeatureInOrder = 35;
inline constexpr unsigned kFeatureOrderPlatform = 36;
inline constexpr unsigned kFeatureSrIov = 37;
inline constexpr unsigned kFeatureNotificationData = 38;
inline constexpr unsigned kFeatureNotifConfigData = 39;
inline constexpr unsigned kFeatureRingReset = 40;
inline constexpr unsigned kFeatureAdminVq = 41;
// Legacy and transitional drivers only (section 6.3).
inline constexpr unsigned kFeatureNotifyOnEmpty = 24;
inline constexpr unsigned kFeatureAnyLayout = 27;

/// The mask of a feature bit number.
constexpr std::uint64_t feature_mask(unsigned bit) { return std::uint64_t{1} << bit; }

/// What every device of ours offers of rings, whoever serves them.
inline constexpr std::uint64_t kRingFeatures = feature_mask(kFeatureVersion1) |
                                               feature_mask(kFeatureIndirectDesc) |
                                               feature_mask(kFeatureEventIdx);

// Descriptor flags (2.7.5 and 2.8.1).
inline constexpr std::uint16_t kDescNext = 1;
inline constexpr std::uint16_t kDescWrite = 2;
inline constexpr std::uint16_t kDescIndirect = 4;
inline constexpr std::uint16_t kDescPackedAvail = 1U << 7;
inline constexpr std::uint16_t kDescPackedUsed = 1U << 15;

// Notification suppression without EVENT_IDX (2.7.6, 2.7.8).
inline constexpr std::uint16_t kAvailNoInterrupt = 1;
inline constexpr std::uint16_t kUsedNoNotify = 1;

// Packed ring event suppression (2.8.10).
inline constexpr std::uint16_t kRingEventFlagsEnable = 0;
inline constexpr std::uint16_t kRingEventFlagsDisable = 1;
inline constexpr std::uint16_t kRingEventFlagsDesc = 2;
inline constexpr unsigned kRingEventWrapShift = 15;
inline constexpr std::uint64_t kPackedEventBytes = 4;
inline constexpr std::uint64_t kPackedEventOffset = 0;       ///< of its index and wrap counter
inline constexpr std::uint64_t kPackedEventFlagsOffset = 2;  ///< of its flags

/// Largest split or packed queue (2.7, 2.8).
inline constexpr std::uint32_t kMaxQueueSize = 32768;

// Alignments of the three areas of a split ring (2.7) and of a packed one (2.8).
inline constexpr std::uint64_t kDescAlign = 16;
inline constexpr std::uint64_t kAvailAlign = 2;
inline constexpr std::uint64_t kUsedAlign = 4;
inline constexpr std::uint64_t kPackedEventAlign = 4;

/// Split descriptor (2.7.5); also an entry of an indirect table (2.7.5.3).
struct [[gnu::packed, gnu::aligned(16)]] Desc {
  std::uint64_t addr;
  std::uint32_t len;
  std::uint16_t flags;
  std::uint16_t next;
};
static_assert(sizeof(Desc) == 16);

/// Head of the available ring (2.7.6); `size` 16-bit heads follow, then used_event.
struct [[gnu::aligned(2)]] AvailHeader {
  std::uint16_t flags;
  std::uint16_t idx;
};
static_assert(sizeof(AvailHeader) == 4);

/// Element of the used ring (2.7.8). `id` is 32 bits wide for padding only.
struct [[gnu::aligned(4)]] UsedElem {
  std::uint32_t id;
  std::uint32_t len;
};
static_assert(sizeof(UsedElem) == 8);

/// Head of the used ring (2.7.8); `size` UsedElem follow, then avail_event.
struct [[gnu::aligned(4)]] UsedHeader {
  std::uint16_t flags;
  std::uint16_t idx;
};
static_assert(sizeof(UsedHeader) == 4);

/// Packed descriptor (2.8.13).
struct [[gnu::packed, gnu::aligned(16)]] PackedDesc {
  std::uint64_t addr;
  std::uint32_t len;
  std::uint16_t id;
  std::uint16_t flags;
};
static_assert(sizeof(PackedDesc) == 16);

/// Driver or device event suppression area of a packed ring (2.8.14).
struct [[gnu::aligned(4)]] PackedEvent {
  std::uint16_t off_wrap;
  std::uint16_t flags;
};
static_assert(sizeof(PackedEvent) == kPackedEventBytes);

/// The flags of a packed descriptor that the driver makes available, or the device used, while its
/// wrap counter is `wrap` (2.8.1), and whether flags say so.
constexpr std::uint16_t packed_avail_flags(bool wrap) {
  return wrap ? kDescPackedAvail : kDescPackedUsed;
}
constexpr std::uint16_t packed_used_flags(bool wrap) {
  return wrap ? kDescPackedAvail | kDescPackedUsed : 0;
}
constexpr bool packed_is_available(std::uint16_t flags, bool wrap) {
  return (flags & (kDescPackedAvail | kDescPackedUsed)) == packed_avail_flags(wrap);
}
constexpr bool packed_is_used(std::uint16_t flags, bool wrap) {
  return (flags & (kDescPackedAvail | kDescPackedUsed)) == packed_used_flags(wrap);
}
/// An index with its wrap counter, as an event suppression area has it (2.8.14).
constexpr std::uint16_t packed_event_at(std::uint16_t index, bool wrap) {
  return static_cast<std::uint16_t>(index | (wrap ? 1U << kRingEventWrapShift : 0U));
}

// Byte sizes and offsets of a split ring of `size` entries (2.7). The event fields are counted
// in whether or not EVENT_IDX is negotiated.
constexpr std::uint64_t desc_table_bytes(std::uint32_t size) { return 16ULL * size; }
constexpr std::uint64_t avail_ring_bytes(std::uint32_t size) { return 6 + 2ULL * size; }
constexpr std::uint64_t used_ring_bytes(std::uint32_t size) { return 6 + 8ULL * size; }
inline constexpr std::uint64_t kAvailFlagsOffset = 0;
inline constexpr std::uint64_t kAvailIdxOffset = 2;
inline constexpr std::uint64_t kAvailRingOffset = 4;
inline constexpr std::uint64_t kUsedFlagsOffset = 0;
inline constexpr std::uint64_t kUsedIdxOffset = 2;
inline constexpr std::uint64_t kUsedRingOffset = 4;
/// Offset of used_event in the available ring (2.7.7).
constexpr std::uint64_t used_event_offset(std::uint32_t size) { return 4 + 2ULL * size; }
/// Offset of avail_event in the used ring (2.7.10).
constexpr std::uint64_t avail_event_offset(std::uint32_t size) { return 4 + 8ULL * size; }

/// Whether the other side asked to hear of the step from `old_idx` to `new_idx` (2.7.7, 2.7.10).
/// All arithmetic is modulo 65536.
constexpr bool need_event(std::uint16_t event, std::uint16_t new_idx, std::uint16_t old_idx) {
  return static_cast<std::uint16_t>(new_idx - event - 1) <
         static_cast<std::uint16_t>(new_idx - old_idx);
}

/// The same for a packed ring of `size` descriptors (2.8.10): the last `count` of them, up to
/// `index` with the counter `wrap`, were made available or used.
constexpr bool packed_need_event(std::uint16_t event, std::uint16_t index, bool wrap,
                                 std::uint16_t count, std::uint16_t size) {
  const bool event_wrap = (event >> kRingEventWrapShift) != 0;
  std::uint32_t at = event & 0x7fffU;
  if (event_wrap != wrap) at -= size;  // a round ago
  return need_event(static_cast<std::uint16_t>(at), index,
                    static_cast<std::uint16_t>(index - count));
}

}  // namespace bellhop::virtio
