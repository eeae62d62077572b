#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <utility>
#include <variant>

#include "base/result.h"
#include "memory/guest_memory.h"
#include "virtio/ring/driver_buffer.h"
#include "virtio/ring/packed_driver_ring.h"
#include "virtio/ring/queue_config.h"
#include "virtio/ring/split_driver_ring.h"

namespace bellhop {

/// The driver's end of one ring, split or packed (virtio 1.3, 2.7 and 2.8), for a driver in the
/// same process as the device. Notifications are suppressed and checked as the standard asks of a
/// driver. One thread.
class DriverRing {
  template <class Call>
  auto visit(Call&& call) {
    return std::visit(std::forward<Call>(call), ring_);
  }
  template <class Call>
  auto visit(Call&& call) const {
    return std::visit(std::forward<Call>(call), ring_);
  }

 public:
  using Buffer = DriverBuffer;
  using Used = UsedChain;

  /// Lays a ring of `size` entries (a power of two, if it is a split one) out from `base` on, with
  /// room for an indirect table of kIndirectEntries for each head behind it, and clears it. The
  /// used ring is aligned to `used_alignment`: a page for legacy devices, which are told no more
  /// than where the ring begins. Errors: it does not fit into one region of the memory.
  static Result<DriverRing> create(const GuestMemory& memory, GuestAddress base, std::uint16_t size,
                                   RingFeatures features = {}, std::uint64_t used_alignment = 64) {
    if (features.packed) {
      auto ring = PackedDriverRing::create(memory, base, size, features);
      if (!ring) return forward(ring);
      return DriverRing(std::move(*ring));
    }
    auto ring = SplitDriverRing::create(memory, base, size, features, used_alignment);
    if (!ring) return forward(ring);
    return DriverRing(std::move(*ring));
  }

  static constexpr std::uint32_t kIndirectEntries = kDriverIndirectEntries;
  /// From `base` on, with the default alignment; of either layout.
  [[nodiscard]] static std::uint64_t bytes_needed(std::uint16_t size) noexcept {
    return SplitDriverRing::bytes_needed(size);
  }

  /// What the device is told of the ring.
  [[nodiscard]] QueueConfig config() const noexcept {
    return visit([](const auto& ring) { return ring.config(); });
  }
  [[nodiscard]] RingFeatures features() const noexcept {
    return visit([](const auto& ring) { return ring.features(); });
  }

  /// Writes a chain into free descriptors (an indirect table if negotiated). The head, or nothing
  /// if there is no room. The device cannot see it before offer().
  std::optional<std::uint16_t> add(std::span<const Buffer> buffers) noexcept {
    return visit([&](auto& ring) { return ring.add(buffers); });
  }
  std::optional<std::uint16_t> add(std::initializer_list<Buffer> buffers) noexcept {
    return add(std::span<const Buffer>(buffers.begin(), buffers.size()));
  }
  /// Shows all added chains to the device. True if it asked for a kick.
  [[nodiscard]] bool offer() noexcept {
    return visit([](auto& ring) { return ring.offer(); });
  }
  /// The next finished chain; its descriptors are free again.
  std::optional<Used> reap() noexcept {
    return visit([](auto& ring) { return ring.reap(); });
  }

  void suppress_interrupts() noexcept {
    visit([](auto& ring) { ring.suppress_interrupts(); });
  }
  /// True if something finished meanwhile: reap again.
  [[nodiscard]] bool enable_interrupts() noexcept {
    return visit([](auto& ring) { return ring.enable_interrupts(); });
  }
  [[nodiscard]] std::uint16_t free_descriptors() const noexcept {
    return visit([](const auto& ring) { return ring.free_descriptors(); });
  }
  /// Chains that the device has given back so far, modulo 2^16, reaped or not.
  [[nodiscard]] std::uint16_t used_idx() const noexcept {
    return visit([](const auto& ring) { return ring.used_idx(); });
  }

 protected:
  [[nodiscard]] SplitDriverRing& split() { return std::get<SplitDriverRing>(ring_); }
  [[nodiscard]] PackedDriverRing& packed() { return std::get<PackedDriverRing>(ring_); }

 private:
  explicit DriverRing(SplitDriverRing ring) : ring_(std::move(ring)) {}
  explicit DriverRing(PackedDriverRing ring) : ring_(std::move(ring)) {}

  std::variant<SplitDriverRing, PackedDriverRing> ring_;
};

}  // namespace bellhop
