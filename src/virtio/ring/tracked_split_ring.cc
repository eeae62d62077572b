#include "virtio/ring/tracked_split_ring.h"

#include "virtio/abi/ring.h"

namespace bellhop {

Result<TrackedSplitRing> TrackedSplitRing::activate(const GuestMemory& memory,
                                                    const QueueConfig& config,
                                                    RingFeatures features, QueueCounters& counters,
                                                    RingState state,
                                                    const InflightQueue& inflight) {
  // Checks where the ring lies, before its used index is read.
  auto ring = SplitRing::activate(memory, config, features, counters, state);
  if (!ring) return forward(ring);
  auto recovered = InflightSplit::recover(inflight, config.size, state, ring->used_idx());
  if (!recovered) return forward(recovered);
  ring = SplitRing::activate(memory, config, features, counters, recovered->state);
  if (!ring) return forward(ring);
  return TrackedSplitRing(std::move(*ring), std::move(*recovered));
}

Pop TrackedSplitRing::pop_again(DescriptorChain& chain) noexcept {
  const Pop answer = take_again(again_[popped_], chain);
  if (chain.taken()) ++popped_;
  return answer;
}

}  // namespace bellhop
