#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "virtio/ring/inflight_packed.h"
#include "virtio/ring/packed_ring.h"

namespace bellhop {

/// A PackedRing whose requests in flight outlive this process: as TrackedSplitRing. What is
/// completed is written into the ring by publish(), one chain after the other (InflightPacked).
class TrackedPackedRing : public PackedRing {
 public:
  /// As PackedRing::activate(); `state` holds where `inflight` says nothing. Errors also:
  /// InflightPacked::recover().
  static Result<TrackedPackedRing> activate(const GuestMemory& memory, const QueueConfig& config,
                                            RingFeatures features, QueueCounters& counters,
                                            RingState state, const InflightQueue& inflight);

  Pop pop(DescriptorChain& chain) noexcept;
  [[nodiscard]] bool rewind(DescriptorChain& chain) noexcept;
  void complete(DescriptorChain& chain, std::uint32_t written) noexcept;
  [[nodiscard]] bool publish() noexcept;
  [[nodiscard]] bool enable_kicks() noexcept {
    return PackedRing::enable_kicks() || has_available();
  }
  [[nodiscard]] bool has_available() noexcept {
    return (again_left() && !broken()) || PackedRing::has_available();
  }

 protected:
  static constexpr bool kJoins = false;
  void finish(ChainId chain, std::uint32_t written) noexcept;

 private:
  /// A chain that is completed and not shown.
  struct Done {
    std::uint16_t entry;
    std::uint16_t id;
    std::uint16_t slots;
    std::uint32_t written;
  };

  TrackedPackedRing(PackedRing ring, InflightPacked::Recovered recovered)
      : PackedRing(std::move(ring)),
        inflight_(std::move(recovered.inflight)),
        again_(std::move(recovered.again)) {
    done_.reserve(size());
  }

  [[nodiscard]] bool again_left() const noexcept { return popped_ < again_.size(); }
  Pop pop_again(DescriptorChain& chain) noexcept;

  InflightPacked inflight_;
  std::uint64_t popped_ = 0;          ///< chains taken, less those put back
  std::vector<InflightChain> again_;  ///< the first ones to be taken
  std::vector<Done> done_;            ///< as many as the ring's size at most
};

}  // namespace bellhop
