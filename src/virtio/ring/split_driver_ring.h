#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "memory/guest_memory.h"
#include "virtio/abi/ring.h"
#include "virtio/ring/driver_buffer.h"
#include "virtio/ring/queue_config.h"

namespace bellhop {

/// The driver's end of one split ring (virtio 1.3, 2.7), with the contract of DriverRing.
class SplitDriverRing {
 public:
  static Result<SplitDriverRing> create(const GuestMemory& memory, GuestAddress base,
                                        std::uint16_t size, RingFeatures features,
                                        std::uint64_t used_alignment);

  [[nodiscard]] static std::uint64_t bytes_needed(std::uint16_t size) noexcept;
  [[nodiscard]] QueueConfig config() const noexcept;
  [[nodiscard]] RingFeatures features() const noexcept { return features_; }

  std::optional<std::uint16_t> add(std::span<const DriverBuffer> buffers) noexcept;
  [[nodiscard]] bool offer() noexcept;
  std::optional<UsedChain> reap() noexcept;
  void suppress_interrupts() noexcept;
  [[nodiscard]] bool enable_interrupts() noexcept;
  [[nodiscard]] std::uint16_t free_descriptors() const noexcept { return free_count_; }
  /// used.idx as the device has published it.
  [[nodiscard]] std::uint16_t used_idx() const noexcept;

  // Raw writes, without the rules.

  void set_desc(std::uint16_t index, const virtio::Desc& desc) noexcept;
  /// Puts `head` into the next slot of the available ring (seen after offer()).
  void push_head(std::uint16_t head) noexcept;
  void set_avail_idx(std::uint16_t index) noexcept;
  void set_used_event(std::uint16_t index) noexcept;
  void set_avail_flags(std::uint16_t flags) noexcept;
  /// Of a chain: what of it the device may write, for rings that are used in order.
  void set_writable(std::uint16_t head, std::uint32_t bytes) noexcept { writable_[head] = bytes; }
  [[nodiscard]] std::uint16_t avail_idx() const noexcept { return avail_idx_; }

 private:
  SplitDriverRing(std::uint16_t size, RingFeatures features) noexcept
      : features_(features), size_(size) {}

  void link_free(std::uint16_t index) noexcept;
  [[nodiscard]] UsedChain next_of_batch() noexcept;

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
  std::vector<std::uint32_t> writable_;      ///< bytes that the device may write under a head
  std::optional<UsedChain> batch_;           ///< being reaped: its last chain (2.7.9)
  std::uint16_t free_head_ = 0;
  std::uint16_t free_count_ = 0;
  std::uint16_t avail_idx_ = 0;
  std::uint16_t offered_ = 0;
  std::uint16_t reaped_ = 0;
};

}  // namespace bellhop
