#include "virtio/ring/tracked_packed_ring.h"

#include <cassert>

namespace bellhop {

Result<TrackedPackedRing> TrackedPackedRing::activate(const GuestMemory& memory,
                                                      const QueueConfig& config,
                                                      RingFeatures features,
                                                      QueueCounters& counters, RingState state,
                                                      const InflightQueue& inflight) {
  // Checks where the ring lies, before its descriptors are read. What the front end says of its
  // place may be old.
  auto ring = PackedRing::activate(memory, config, features, counters, {});
  if (!ring) return forward(ring);
  auto recovered = InflightPacked::recover(
      inflight, config.size, state, [&](std::uint16_t index) { return ring->flags_at(index); });
  if (!recovered) return forward(recovered);
  ring = PackedRing::activate(memory, config, features, counters, recovered->state);
  if (!ring) return forward(ring);
  return TrackedPackedRing(std::move(*ring), std::move(*recovered));
}

Pop TrackedPackedRing::pop(DescriptorChain& chain) noexcept {
  if (again_left()) [[unlikely]]
    return pop_again(chain);
  std::uint16_t index = next_avail_.index;
  const Pop answer = PackedRing::pop(chain);
  if (!chain.taken()) return answer;
  chain.entry_ = inflight_.entry();
  for (std::uint16_t i = 0; i < chain.slots_; ++i) {
    // Fetched a second time: a copy is for later, and judged anew then.
    inflight_.copy(desc_at(index));
    if (++index == size()) index = 0;
  }
  inflight_.taken(chain.slots_);
  ++popped_;
  return answer;
}

Pop TrackedPackedRing::pop_again(DescriptorChain& chain) noexcept {
  const InflightChain& one = again_[popped_];
  const Pop answer = take_again(one.descs, chain);
  if (!chain.taken()) return answer;
  chain.entry_ = one.entry;
  ++popped_;
  return answer;
}

bool TrackedPackedRing::rewind(DescriptorChain& chain) noexcept {
  if (!PackedRing::rewind(chain)) return false;
  --popped_;
  // One that is to be taken again stays in flight.
  if (!again_left()) inflight_.put_back(chain.entry_);
  return true;
}

void TrackedPackedRing::complete(DescriptorChain& chain, std::uint32_t written) noexcept {
  assert(chain.taken_);
  chain.taken_ = false;
  finish(chain.id(), written);
}

void TrackedPackedRing::finish(ChainId chain, std::uint32_t written) noexcept {
  done_.push_back(
      {.entry = chain.entry, .id = chain.head, .slots = chain.slots, .written = written});
  clear_in_flight(chain.head);
  counters_->completions.add();
}

bool TrackedPackedRing::publish() noexcept {
  if (done_.empty()) return false;
  std::uint16_t count = 0;
  for (const Done& one : done_) {
    const Place at = next_used_;
    const std::uint16_t flags = write_used(at.index, at.wrap, one.id, one.written);
    advance(next_used_, one.slots);
    inflight_.show(one.entry, next_used_.index, next_used_.wrap);
    show_used(at.index, flags);
    inflight_.shown(one.entry);
    count = static_cast<std::uint16_t>(count + one.slots);
  }
  done_.clear();
  return shown(count);
}

}  // namespace bellhop
