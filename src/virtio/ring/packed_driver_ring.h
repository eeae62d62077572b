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

/// The driver's end of one packed ring (virtio 1.3, 2.8), with the contract of DriverRing; heads
/// are buffer ids.
class PackedDriverRing {
 public:
  static Result<PackedDriverRing> create(const GuestMemory& memory, GuestAddress base,
                                         std::uint16_t size, RingFeatures features);

  [[nodiscard]] QueueConfig config() const noexcept;
  [[nodiscard]] RingFeatures features() const noexcept { return features_; }

  std::optional<std::uint16_t> add(std::span<const DriverBuffer> buffers) noexcept;
  [[nodiscard]] bool offer() noexcept;
  std::optional<UsedChain> reap() noexcept;
  void suppress_interrupts() noexcept;
  [[nodiscard]] bool enable_interrupts() noexcept;
  [[nodiscard]] std::uint16_t free_descriptors() const noexcept { return free_count_; }
  [[nodiscard]] std::uint16_t used_idx() const noexcept;

  // Raw writes, without the rules, and looks.

  void set_desc(std::uint16_t index, const virtio::PackedDesc& desc) noexcept;
  [[nodiscard]] virtio::PackedDesc desc(std::uint16_t index) const noexcept;
  void set_driver_event(virtio::PackedEvent event) noexcept;
  [[nodiscard]] virtio::PackedEvent device_event() const noexcept;
  /// As SplitDriverRing::set_writable().
  void set_writable(std::uint16_t id, std::uint32_t bytes) noexcept { writable_[id] = bytes; }
  /// The last descriptor that was added is an indirect one.
  void make_indirect() noexcept;
  /// All descriptors are available, and no chain ends.
  void make_endless() noexcept;

 private:
  void set_all_but_flags(std::uint16_t index, const virtio::PackedDesc& desc) noexcept;
  struct Place {
    std::uint16_t index = 0;
    bool wrap = true;
  };

  PackedDriverRing(std::uint16_t size, RingFeatures features) noexcept
      : features_(features), size_(size) {}

  void put(const virtio::PackedDesc& desc) noexcept;
  void advance(Place& place, std::uint16_t slots) const noexcept;
  [[nodiscard]] bool is_used(Place place) const noexcept;
  [[nodiscard]] std::uint16_t slots_of(std::uint32_t id) const noexcept;
  [[nodiscard]] UsedChain next_of_batch() noexcept;

  GuestAddress base_;
  GuestAddress indirect_at_;
  RingFeatures features_;
  std::uint16_t size_;
  GuestSpan desc_;
  GuestSpan driver_;
  GuestSpan device_;
  GuestSpan indirect_;
  std::vector<std::uint16_t> free_ids_;
  std::vector<std::uint16_t> slots_;     ///< descriptors under an id; 0: it is not in use
  std::vector<std::uint32_t> writable_;  ///< bytes that the device may write under an id
  // Where the order counts (2.8.9): ids in that of add(), in turn; the next one to come back, and
  // to be added.
  std::vector<std::uint16_t> order_;
  std::uint64_t order_next_ = 0;
  std::uint64_t order_end_ = 0;
  std::optional<UsedChain> batch_;  ///< being reaped: its last chain
  std::uint16_t free_count_;        ///< descriptors
  Place next_avail_;
  Place next_used_;
  std::uint16_t added_ = 0;  ///< descriptors that were not offered yet
  std::uint16_t first_index_ = 0;
  std::uint16_t first_flags_ = 0;  ///< that show them
  std::uint16_t last_index_ = 0;   ///< where the last one was put
  std::uint16_t reaped_ = 0;       ///< chains
};

}  // namespace bellhop
