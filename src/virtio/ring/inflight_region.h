#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "memory/guest_span.h"

// What a back end notes of the requests that it has in flight, in memory that its front end keeps
// when the back end dies: vhost-user, "Inflight I/O tracking". In the host's byte order.
namespace bellhop {

/// DescStateSplit: of the chain whose head has the entry's number.
struct InflightSplitDesc {
  std::uint8_t inflight;
  std::uint8_t padding[5];
  std::uint16_t next;  ///< the chain completed before it, of the last batch
  std::uint64_t counter;
};
static_assert(sizeof(InflightSplitDesc) == 16);

/// QueueRegionSplit; `desc_num` entries follow.
struct InflightSplitHead {
  std::uint64_t features;
  std::uint16_t version;  ///< 0: nothing is noted yet
  std::uint16_t desc_num;
  std::uint16_t last_batch_head;
  std::uint16_t used_idx;
};
static_assert(sizeof(InflightSplitHead) == 16);

/// DescStatePacked: a copy of one descriptor; the first of a chain stands for the chain.
struct InflightPackedDesc {
  std::uint8_t inflight;
  std::uint8_t padding;
  std::uint16_t next;  ///< of the chain's, or of the free ones
  std::uint16_t last;  ///< of the chain's
  std::uint16_t num;   ///< descriptors of the chain
  std::uint64_t counter;
  std::uint16_t id;
  std::uint16_t flags;
  std::uint32_t len;
  std::uint64_t addr;
};
static_assert(sizeof(InflightPackedDesc) == 32);

/// Where the free list of a QueueRegionPacked begins, now and when it was last right: one word, so
/// that both can be changed at once.
struct InflightPackedFree {
  std::uint16_t head;
  std::uint16_t old_head;
};
static_assert(sizeof(InflightPackedFree) == 4);

/// Its used index, now and when it was last right, with the wrap counters: one word, so that no
/// crash comes between an index and its counter.
struct InflightPackedUsed {
  std::uint16_t idx;
  std::uint16_t old_idx;
  std::uint8_t wrap;
  std::uint8_t old_wrap;
  std::uint8_t padding[2];
};
static_assert(sizeof(InflightPackedUsed) == 8);

/// QueueRegionPacked; `desc_num` entries follow.
struct InflightPackedHead {
  std::uint64_t features;
  std::uint16_t version;
  std::uint16_t desc_num;
  std::uint32_t free;  ///< InflightPackedFree
  std::uint64_t used;  ///< InflightPackedUsed
  std::uint8_t padding[8];
};
static_assert(sizeof(InflightPackedHead) == 32 && offsetof(InflightPackedHead, free) == 12 &&
              offsetof(InflightPackedHead, used) == 16);

inline constexpr std::uint16_t kInflightVersion = 1;
/// Where the next queue's region begins.
inline constexpr std::uint64_t kInflightAlign = 64;

/// Bytes of one queue's region.
constexpr std::uint64_t inflight_queue_bytes(bool packed, std::uint16_t entries) noexcept {
  const std::uint64_t bytes =
      packed ? sizeof(InflightPackedHead) + sizeof(InflightPackedDesc) * entries
             : sizeof(InflightSplitHead) + sizeof(InflightSplitDesc) * entries;
  return (bytes + kInflightAlign - 1) / kInflightAlign * kInflightAlign;
}

/// One queue's region. The front end may write to it at any time: what is read is checked.
struct InflightQueue {
  GuestSpan bytes;  ///< inflight_queue_bytes(), aligned to kInflightAlign
  std::uint16_t entries = 0;

  /// Nothing is noted from now on: the ring begins where it is told to. While it does not run.
  void forget() const noexcept;
  /// Whether nothing is in flight. While the ring does not run.
  [[nodiscard]] bool idle(bool packed) const noexcept;
};

/// A field of a region. A process that is killed leaves a prefix of its stores in program order,
/// since each that has retired is seen by whoever comes later; release keeps the compiler to that
/// order, and costs x86 nothing.
template <class T>
void set_inflight(T& field, std::type_identity_t<T> value) noexcept {
  std::atomic_ref<T>(field).store(value, std::memory_order_release);
}
template <class T>
[[nodiscard]] T get_inflight(T& field) noexcept {
  return std::atomic_ref<T>(field).load(std::memory_order_acquire);
}

inline void InflightQueue::forget() const noexcept {
  static_assert(offsetof(InflightSplitHead, version) == offsetof(InflightPackedHead, version));
  set_inflight(static_cast<InflightSplitHead*>(bytes.as_iovec().iov_base)->version, 0);
}

inline bool InflightQueue::idle(bool packed) const noexcept {
  static_assert(offsetof(InflightSplitDesc, inflight) == 0 &&
                offsetof(InflightPackedDesc, inflight) == 0);
  std::size_t at = packed ? sizeof(InflightPackedHead) : sizeof(InflightSplitHead);
  const std::size_t step = packed ? sizeof(InflightPackedDesc) : sizeof(InflightSplitDesc);
  for (unsigned i = 0; i < entries; ++i, at += step) {
    std::uint8_t inflight = 0;
    if (!bytes.load(at, inflight) || inflight != 0) return false;
  }
  return true;
}

}  // namespace bellhop
