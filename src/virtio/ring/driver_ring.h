#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "memory/guest_memory.h"
#include "virtio/abi/ring.h"
#include "virtio/ring/queue_config.h"

namespace bellhop {

/// The driver's end of one split ring (virtio 1.3, 2.7), for a driver in the same process as the
/// device. Notifications are suppressed and checked as the standard asks of a driver. One thread.
class DriverRing {
 public:
  struct Buffer {
    GuestAddress address;
    std::uint32_t length = 0;  ///< bytes
    bool device_writes = false;
  };
  struct Used {
    std::uint32_t id = 0;      ///< the head that add() returned
    std::uint32_t length = 0;  ///< bytes that the device wrote
  };

  /// Lays a ring of `size` entries (a power of two) out from `base` on, with room for an indirect
  /// table of kIndirectEntries for each head behind it, and clears it. The used ring is aligned to
  /// `used_alignment`: a page for legacy devices, which are told no more than where the ring
  /// begins. Errors: it does not fit into one region of the memory.
  static Result<DriverRing> create(const GuestMemory& memory, GuestAddress base, std::uint16_t size,
                                   RingFeatures features = {}, std::uint64_t used_alignment = 64);

  static constexpr std::uint32_t kIndirectEntries = 16;
  /// From `base` on, with the default alignment.
  [[nodiscard]] static std::uint64_t bytes_needed(std::uint16_t size) noexcept;

  /// What the device is told of the ring.
  [[nodiscard]] QueueConfig config() const noexcept;
  [[nodiscard]] RingFeatures features() const noexcept { return features_; }

  /// Writes a chain into free descriptors (an indirect table if negotiated). The head, or nothing
  /// if there is no room. The device cannot see it before offer().
  std::optional<std::uint16_t> add(std::span<const Buffer> buffers) noexcept;
  std::optional<std::uint16_t> add(std::initializer_list<Buffer> buffers) noexcept {
    return add(std::span<const Buffer>(buffers.begin(), buffers.size()));
  }
  /// Shows all added chains to the device. True if it asked for a kick.
  [[nodiscard]] bool offer() noexcept;
  /// The next finished chain; its descriptors are free again.
  std::optional<Used> reap() noexcept;

  void suppress_interrupts() noexcept;
  /// True if something finished meanwhile: reap again.
  [[nodiscard]] bool enable_interrupts() noexcept;
  [[nodiscard]] std::uint16_t free_descriptors() const noexcept { return free_count_; }
  /// used.idx as the device has published it.
  [[nodiscard]] std::uint16_t used_idx() const noexcept;

 protected:
  // Raw writes, without the rules.
  void set_desc(std::uint16_t index, const virtio::Desc& desc) noexcept;
  /// Puts `head` into the next slot of the available ring (seen after offer()).
  void push_head(std::uint16_t head) noexcept;
  void set_avail_idx(std::uint16_t index) noexcept;
  void set_used_event(std::uint16_t index) noexcept;
  void set_avail_flags(std::uint16_t flags) noexcept;
  [[nodiscard]] std::uint16_t avail_idx() const noexcept { return avail_idx_; }

 private:
  DriverRing(std::uint16_t size, RingFeatures features) noexcept
      : features_(features), size_(size) {}

  void link_free(std::uint16_t index) noexcept;

  GuestAddress base_;
  GuestAddress avail_at_;
  GuestAddress used_at_;
  GuestAddress indirect_at_;
  RingFeatures features_;
  std::uint16_t size_;
  GuestSpan desc_;
  GuestSpan avail_;
  GuestSpan used_;
  GuestSpan indirect_;
  std::vector<std::uint16_t> free_next_;     ///< free list through the descriptors
  std::vector<std::uint16_t> chain_length_;  ///< direct descriptors under a head
  std::uint16_t free_head_ = 0;
  std::uint16_t free_count_ = 0;
  std::uint16_t avail_idx_ = 0;
  std::uint16_t offered_ = 0;
  std::uint16_t reaped_ = 0;
};

}  // namespace bellhop
