#pragma once

#include <cstdint>

#include "testing/test_memory.h"
#include "virtio/abi/ring.h"
#include "virtio/ring/driver_ring.h"

namespace bellhop::testing {

/// The driver's end of a ring for unit tests, fuzzers and benchmarks: a good driver, and the raw
/// writes of one that is not.
class FakeDriver : public DriverRing {
 public:
  FakeDriver(const GuestMemory& memory, GuestAddress base, std::uint16_t size,
             RingFeatures features = {}, std::uint64_t used_alignment = 64)
      : DriverRing(must(create(memory, base, size, features, used_alignment))) {}

  /// Has the chain that was added last, of one buffer, say that this is an indirect table, with
  /// `writable` bytes for the device in all.
  void make_indirect(std::uint16_t head, GuestAddress table, std::uint32_t bytes,
                     std::uint32_t writable = 0) {
    features().packed ? packed().set_writable(head, writable)
                      : split().set_writable(head, writable);
    if (features().packed) {
      packed().make_indirect();
    } else {
      split().set_desc(head, {table.value(), bytes, virtio::kDescIndirect, 0});
    }
  }

  /// Has the ring say what cannot be: nothing can be taken from it any more.
  void break_ring() {
    if (features().packed) {
      packed().make_endless();
    } else {
      split().set_avail_idx(static_cast<std::uint16_t>(split().avail_idx() + 40000));
    }
  }

  // Raw writes, of a split ring

  void set_desc(std::uint16_t index, const virtio::Desc& desc) { split().set_desc(index, desc); }
  void push_head(std::uint16_t head) { split().push_head(head); }
  void set_avail_idx(std::uint16_t index) { split().set_avail_idx(index); }
  void set_used_event(std::uint16_t index) { split().set_used_event(index); }
  void set_avail_flags(std::uint16_t flags) { split().set_avail_flags(flags); }
  [[nodiscard]] std::uint16_t avail_idx() { return split().avail_idx(); }

  // and of a packed one

  /// All of a descriptor; the device sees it at once if its flags say so.
  void set_packed_desc(std::uint16_t index, const virtio::PackedDesc& desc) {
    packed().set_desc(index, desc);
  }
  void set_driver_event(virtio::PackedEvent event) { packed().set_driver_event(event); }
  [[nodiscard]] virtio::PackedDesc packed_desc(std::uint16_t index) { return packed().desc(index); }
  [[nodiscard]] virtio::PackedEvent device_event() { return packed().device_event(); }
};

}  // namespace bellhop::testing
