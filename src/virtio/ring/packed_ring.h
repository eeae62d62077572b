#pragma once

#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "virtio/abi/ring.h"
#include "virtio/ring/descriptor_chain.h"
#include "virtio/ring/ring_common.h"
#include "virtio/ring/ring_state.h"

namespace bellhop {

/// The device's end of one packed ring (virtio 1.3, 2.8), with the contract of SplitRing.
/// Move-only; one thread at a time.
///
/// There is one ring of descriptors: the driver makes chains available in order, and the device
/// writes used descriptors over them in the order in which it is done. A used descriptor stands for
/// its whole chain, so the place of the next one lies as many descriptors further as the chain had.
/// It never overtakes the place where the next chain is taken.
///
/// A batch is shown at once: the flags of its first used descriptor, for which the driver waits,
/// are written last.
///
/// A chain that is malformed in itself is kMalformed, as in a split ring. A ring is kBroken where
/// the next chain cannot be told from it: more descriptors than the ring has, NEXT without an end
/// among them, or a buffer id that is in flight already. Any other id will do.
class PackedRing : public RingCommon {
 public:
  /// As SplitRing::activate(); the size may be any from 1 to 32768. Errors also: a `state` outside
  /// the ring.
  static Result<PackedRing> activate(const GuestMemory& memory, const QueueConfig& config,
                                     RingFeatures features, QueueCounters& counters,
                                     RingState state = {});

  PackedRing(PackedRing&&) noexcept = default;
  PackedRing& operator=(PackedRing&&) noexcept = default;

  Pop pop(DescriptorChain& chain) noexcept;
  [[nodiscard]] bool rewind(DescriptorChain& chain) noexcept;
  void complete(DescriptorChain& chain, std::uint32_t written) noexcept;
  [[nodiscard]] bool publish() noexcept;

  void suppress_kicks() noexcept { want_kicks(virtio::kRingEventFlagsDisable); }
  void ask_for_kicks() noexcept;
  [[nodiscard]] bool enable_kicks() noexcept;
  [[nodiscard]] bool has_available() noexcept {
    return !broken_ && virtio::packed_is_available(next_flags(), next_avail_.wrap);
  }

  [[nodiscard]] RingState state() const noexcept;
  /// As a SplitRing's.
  [[nodiscard]] RingAreas areas() const noexcept;
  /// Of the descriptor at an index.
  [[nodiscard]] std::uint16_t flags_at(std::uint16_t index) const noexcept;

 protected:
  /// A place in the ring, and the wrap counter there.
  struct Place {
    std::uint16_t index = 0;
    bool wrap = true;
  };
  /// As in a SplitRing (2.8.9).
  static constexpr bool kJoins = true;
  using UsedPlace = Place;
  void finish(ChainId chain, std::uint32_t written) noexcept;
  void join(Place first, ChainId chain, std::uint32_t written) noexcept;

  [[nodiscard]] virtio::PackedDesc desc_at(std::uint16_t index) const noexcept;
  /// Takes the chain of `descs`, whatever the ring says, as the one at its next place.
  Pop take_again(std::span<const virtio::PackedDesc> descs, DescriptorChain& chain) noexcept;
  /// Writes all of a used descriptor but its flags. Returns these.
  std::uint16_t write_used(std::uint16_t index, bool wrap, std::uint16_t id,
                           std::uint32_t written) const noexcept {
    [[maybe_unused]] const bool fits =
        desc_.store(place_of(index) + offsetof(virtio::PackedDesc, len), written) &&
        desc_.store(place_of(index) + offsetof(virtio::PackedDesc, id), id);
    assert(fits);
    return virtio::packed_used_flags(wrap) | (written != 0 ? virtio::kDescWrite : std::uint16_t{0});
  }
  void show_used(std::uint16_t index, std::uint16_t flags) const noexcept {
    // Release: what is shown and the data come before the flags (pairs with the driver's acquire of
    // them).
    desc_.atomic16(flags_of(index)).store(flags, std::memory_order_release);
  }
  /// Chains of `count` descriptors were shown. True if the driver wants an interrupt for them.
  [[nodiscard]] bool shown(std::uint16_t count) noexcept;
  void advance(Place& place, std::uint16_t slots) const noexcept;

  Place next_avail_;  ///< where the next chain is taken
  Place next_used_;   ///< where the next used descriptor is written

 private:
  /// What was found where a chain begins.
  struct Found {
    std::uint16_t slots = 0;    ///< descriptors; 0: it has no end
    bool sound = true;          ///< it can be served
    virtio::PackedDesc last{};  ///< of its descriptors in the ring
  };

  PackedRing(const GuestMemory& memory, RingFeatures features, QueueCounters& counters,
             std::uint16_t size);

  [[nodiscard]] std::uint16_t next_flags() const noexcept;
  template <class Fetch>
  [[nodiscard]] Found walk(std::uint32_t limit, Fetch fetch, DescriptorChain& chain) const noexcept;
  static constexpr std::size_t place_of(std::uint16_t index) {
    return std::size_t{index} * sizeof(virtio::PackedDesc);
  }
  static constexpr std::size_t flags_of(std::uint16_t index) {
    return place_of(index) + offsetof(virtio::PackedDesc, flags);
  }
  Pop take(const Found& found, DescriptorChain& chain) noexcept;
  void count_used(ChainId chain) noexcept;
  void add_used(ChainId chain, std::uint32_t written) noexcept;
  void find_answer(virtio::PackedDesc last, DescriptorChain& chain) const noexcept;
  void want_kicks(std::uint16_t flags) noexcept;
  void go_back(Place& place, std::uint16_t slots) const noexcept;

  GuestSpan desc_;
  GuestSpan driver_;  ///< what the driver wants to hear
  GuestSpan device_;  ///< what we want to hear
  /// Descriptors of chains that the driver has not got back: taken, and not shown as used.
  std::uint16_t held_ = 0;
  std::uint16_t unpublished_ = 0;  ///< of them, descriptors of chains that are completed
  std::uint16_t first_index_ = 0;  ///< where the batch begins that is not shown yet
  std::uint16_t first_flags_ = 0;  ///< that show it
  std::uint16_t wanted_ = 0xffff;  ///< the flags in device_ when last written; no flags: unknown
};

}  // namespace bellhop
