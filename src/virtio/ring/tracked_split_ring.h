#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "virtio/ring/inflight_split.h"
#include "virtio/ring/split_ring.h"

namespace bellhop {

/// A SplitRing whose requests in flight outlive this process: noted in memory of the front end's.
/// Those that a server before it has left in flight are taken again first, in the order in which
/// they had been taken.
class TrackedSplitRing : public SplitRing {
 public:
  /// As SplitRing::activate(); `state` holds where `inflight` says nothing. Errors also:
  /// InflightSplit::recover().
  static Result<TrackedSplitRing> activate(const GuestMemory& memory, const QueueConfig& config,
                                           RingFeatures features, QueueCounters& counters,
                                           RingState state, const InflightQueue& inflight);

  Pop pop(DescriptorChain& chain) noexcept {
    if (again_left()) [[unlikely]]
      return pop_again(chain);
    const Pop answer = SplitRing::pop(chain);
    if (!chain.taken()) return answer;
    inflight_.take(chain.head());
    ++popped_;
    return answer;
  }
  [[nodiscard]] bool rewind(DescriptorChain& chain) noexcept {
    const std::uint16_t head = chain.head();
    if (!SplitRing::rewind(chain)) return false;
    --popped_;
    // One that is to be taken again stays in flight.
    if (!again_left()) inflight_.put_back(head);
    return true;
  }
  void complete(DescriptorChain& chain, std::uint32_t written) noexcept {
    SplitRing::complete(chain, written);
    inflight_.complete(chain.head());
  }
  [[nodiscard]] bool publish() noexcept {
    const bool wanted = SplitRing::publish();
    inflight_.show(next_used_);
    return wanted;
  }
  [[nodiscard]] bool enable_kicks() noexcept {
    return SplitRing::enable_kicks() || has_available();
  }
  [[nodiscard]] bool has_available() noexcept {
    return (again_left() && !broken()) || SplitRing::has_available();
  }

 protected:
  /// What is noted of one chain is not noted of several.
  static constexpr bool kJoins = false;
  void finish(ChainId chain, std::uint32_t written) noexcept {
    SplitRing::finish(chain, written);
    inflight_.complete(chain.head);
  }

 private:
  TrackedSplitRing(SplitRing ring, InflightSplit::Recovered recovered) noexcept
      : SplitRing(std::move(ring)),
        inflight_(std::move(recovered.inflight)),
        again_(std::move(recovered.again)) {}

  [[nodiscard]] bool again_left() const noexcept { return popped_ < again_.size(); }
  Pop pop_again(DescriptorChain& chain) noexcept;

  InflightSplit inflight_;
  std::uint64_t popped_ = 0;          ///< chains taken, less those put back
  std::vector<std::uint16_t> again_;  ///< the first ones to be taken
};

}  // namespace bellhop
