#include "virtio/ring/packed_ring.h"

#include <fmt/format.h>

#include <atomic>
#include <utility>

#include "virtio/ring/chain_walker.h"

namespace bellhop {

using namespace virtio;

namespace {

/// A driver may use any number as a buffer id.
constexpr std::size_t kBufferIds = 65536;

/// 2.8.7: all of a table's entries, in order; of their flags only WRITE counts. INDIRECT would be a
/// table in a table (2.8.19 forbids any).
bool walk_table(const GuestMemory& memory, const PackedDesc& desc, ChainWalker& buffers) noexcept {
  if (desc.len == 0 || desc.len % sizeof(PackedDesc) != 0) return false;
  const auto table = memory.span(GuestAddress(desc.addr), desc.len);
  if (!table) return false;
  for (std::size_t at = 0; at < desc.len; at += sizeof(PackedDesc)) {
    PackedDesc entry{};
    if (!table->load(at, entry) || (entry.flags & kDescIndirect) != 0) return false;
    if (!buffers.add(entry.addr, entry.len, (entry.flags & kDescWrite) != 0)) return false;
  }
  return true;
}

}  // namespace

PackedRing::PackedRing(const GuestMemory& memory, RingFeatures features, QueueCounters& counters,
                       std::uint16_t size)
    : RingCommon(memory, features, counters, size, kBufferIds) {}

Result<PackedRing> PackedRing::activate(const GuestMemory& memory, const QueueConfig& config,
                                        RingFeatures features, QueueCounters& counters,
                                        RingState state) {
  const std::uint16_t size = config.size;
  if (size == 0 || size > kMaxQueueSize) {
    return fail(fmt::format("queue size {} is not one from 1 to {}", size, kMaxQueueSize));
  }
  if (state.next_avail >= size || state.next_used >= size) {
    return fail(fmt::format("a ring of {} cannot go on at {} and {}", size, state.next_avail,
                            state.next_used));
  }
  const auto areas = find_ring_areas(
      memory, {{
                  {"descriptor ring", config.desc, desc_table_bytes(size), kDescAlign},
                  {"driver event suppression", config.driver, kPackedEventBytes, kPackedEventAlign},
                  {"device event suppression", config.device, kPackedEventBytes, kPackedEventAlign},
              }});
  if (!areas) return forward(areas);
  PackedRing ring(memory, features, counters, size);
  ring.desc_ = (*areas)[0];
  ring.driver_ = (*areas)[1];
  ring.device_ = (*areas)[2];
  ring.next_avail_ = {.index = state.next_avail, .wrap = state.avail_wrap};
  ring.next_used_ = {.index = state.next_used, .wrap = state.used_wrap};
  ring.broken_ = state.broken;
  return ring;
}

std::uint16_t PackedRing::next_flags() const noexcept {
  // Pairs with the driver's release of the flags: the whole chain is visible after it.
  return desc_.atomic16(flags_of(next_avail_.index)).load(std::memory_order_acquire);
}

void PackedRing::advance(Place& place, std::uint16_t slots) const noexcept {
  const std::uint32_t index = std::uint32_t{place.index} + slots;
  const bool wraps = index >= size_;
  place.index = static_cast<std::uint16_t>(wraps ? index - size_ : index);
  place.wrap ^= wraps;
}

void PackedRing::go_back(Place& place, std::uint16_t slots) const noexcept {
  const bool wraps = place.index < slots;
  place.index = static_cast<std::uint16_t>(place.index + (wraps ? size_ : 0U) - slots);
  place.wrap ^= wraps;
}

Pop PackedRing::pop(DescriptorChain& chain) noexcept {
  assert(!chain.taken_);
  if (broken_) return Pop::kBroken;
  const std::uint16_t flags = next_flags();
  if (!packed_is_available(flags, next_avail_.wrap)) return Pop::kEmpty;
  std::uint16_t index = next_avail_.index;
  const auto fetch = [&, first = true](PackedDesc& desc) mutable noexcept {
    desc = desc_at(index);
    // What has shown the chain is what counts, whatever is there now.
    if (std::exchange(first, false)) desc.flags = flags;
    if (++index == size_) index = 0;
  };
  // It cannot be longer than what the driver may have made available.
  return take(walk(std::uint32_t{size_} - held_, fetch, chain), chain);
}

[[gnu::always_inline]] inline Pop PackedRing::take(const Found& found,
                                                   DescriptorChain& chain) noexcept {
  if (found.slots == 0 || !mark_in_flight(found.last.id)) return give_up();
  held_ = static_cast<std::uint16_t>(held_ + found.slots);
  advance(next_avail_, found.slots);
  ++taken_;
  chain.head_ = found.last.id;
  chain.slots_ = found.slots;
  chain.next_avail_ = taken_;
  chain.taken_ = true;
  if (found.sound) [[likely]] {
    counters_->chains.add();
    return Pop::kChain;
  }
  counters_->bad_chains.add();
  find_answer(found.last, chain);
  return Pop::kMalformed;
}

Pop PackedRing::take_again(std::span<const PackedDesc> descs, DescriptorChain& chain) noexcept {
  assert(!chain.taken_);
  if (broken_) return Pop::kBroken;
  std::size_t next = 0;
  const auto fetch = [&](PackedDesc& desc) noexcept { desc = descs[next++]; };
  const std::uint32_t room = std::uint32_t{size_} - held_;
  const Found found =
      descs.size() > room ? Found{} : walk(static_cast<std::uint32_t>(descs.size()), fetch, chain);
  // A chain of another length than was noted would end at another place.
  if (found.slots != descs.size()) return give_up();
  return take(found, chain);
}

PackedDesc PackedRing::desc_at(std::uint16_t index) const noexcept {
  PackedDesc desc{};
  [[maybe_unused]] const bool fits = desc_.load(place_of(index), desc);
  assert(fits);
  return desc;
}

std::uint16_t PackedRing::flags_at(std::uint16_t index) const noexcept {
  return desc_.atomic16(flags_of(index)).load(std::memory_order_acquire);
}

/// Follows a chain to its end, `limit` descriptors at most: where the next one begins is known by
/// nothing else, so that a malformed one is followed, too.
template <class Fetch>
[[gnu::always_inline]] inline PackedRing::Found PackedRing::walk(
    std::uint32_t limit, Fetch fetch, DescriptorChain& chain) const noexcept {
  ChainWalker buffers(*memory_, chain);
  Found found;
  while (found.slots < limit) {
    fetch(found.last);
    ++found.slots;
    const std::uint16_t flags = found.last.flags;
    if (found.sound) {
      if ((flags & kDescIndirect) == 0) {
        found.sound = buffers.add(found.last.addr, found.last.len, (flags & kDescWrite) != 0);
      } else {
        // 2.8.19: an indirect descriptor is a chain by itself.
        found.sound = features_.indirect && found.slots == 1 && (flags & kDescNext) == 0 &&
                      walk_table(*memory_, found.last, buffers);
      }
    }
    if ((flags & kDescNext) == 0) {
      buffers.end();
      return found;
    }
  }
  found.slots = 0;
  return found;
}

/// The last buffer of a malformed chain, if it can be found.
void PackedRing::find_answer(PackedDesc last, DescriptorChain& chain) const noexcept {
  ChainWalker::keep_only({}, chain);
  if ((last.flags & kDescIndirect) != 0) {
    if (!features_.indirect || last.len < sizeof(PackedDesc)) return;
    const auto table = memory_->span(GuestAddress(last.addr), last.len);
    const std::size_t entries = last.len / sizeof(PackedDesc);
    if (!table || !table->load((entries - 1) * sizeof(PackedDesc), last)) return;
    if ((last.flags & kDescIndirect) != 0) return;
  }
  const auto buffer = memory_->span(GuestAddress(last.addr), last.len);
  if ((last.flags & kDescWrite) != 0 && buffer) ChainWalker::keep_only(*buffer, chain);
}

[[gnu::always_inline]] inline void PackedRing::count_used(ChainId chain) noexcept {
  unpublished_ = static_cast<std::uint16_t>(unpublished_ + chain.slots);
  advance(next_used_, chain.slots);
  clear_in_flight(chain.head);
  counters_->completions.add();
}

[[gnu::always_inline]] inline void PackedRing::add_used(ChainId chain,
                                                        std::uint32_t written) noexcept {
  const std::uint16_t index = next_used_.index;
  const std::uint16_t flags = write_used(index, next_used_.wrap, chain.head, written);
  if (unpublished_ == 0) {
    first_index_ = index;
    first_flags_ = flags;
  } else {
    // The driver does not come here before it has seen the first one.
    [[maybe_unused]] const bool fits = desc_.store(flags_of(index), flags);
    assert(fits);
  }
  count_used(chain);
}

void PackedRing::complete(DescriptorChain& chain, std::uint32_t written) noexcept {
  assert(chain.taken_);
  chain.taken_ = false;
  add_used(chain.id(), written);
}

void PackedRing::finish(ChainId chain, std::uint32_t written) noexcept { add_used(chain, written); }

void PackedRing::join(Place first, ChainId chain, std::uint32_t written) noexcept {
  assert(unpublished_ != 0);
  const std::uint16_t flags = write_used(first.index, first.wrap, chain.head, written);
  if (first.index == first_index_) {
    first_flags_ = flags;
  } else {
    [[maybe_unused]] const bool fits = desc_.store(flags_of(first.index), flags);
    assert(fits);
  }
  count_used(chain);
}

bool PackedRing::rewind(DescriptorChain& chain) noexcept {
  assert(chain.taken_);
  if (chain.next_avail_ != taken_) return false;
  chain.taken_ = false;
  // Its descriptors are as the driver has left them: used ones are written over those of chains
  // that were taken earlier. They are fetched anew by the next pop().
  --taken_;
  held_ = static_cast<std::uint16_t>(held_ - chain.slots_);
  go_back(next_avail_, chain.slots_);
  clear_in_flight(chain.head_);
  counters_->chains.take_back();
  return true;
}

bool PackedRing::publish() noexcept {
  if (unpublished_ == 0) return false;
  show_used(first_index_, first_flags_);
  return shown(std::exchange(unpublished_, std::uint16_t{0}));
}

bool PackedRing::shown(std::uint16_t count) noexcept {
  held_ = static_cast<std::uint16_t>(held_ - count);
  counters_->batches.add();
  // Full fence between the used flags and the driver's event suppression; pairs with the one that
  // the driver has between its event suppression and its last look at the flags (2.8.21.3.1).
  std::atomic_thread_fence(std::memory_order_seq_cst);
  // Acquire: what the flags speak of was written before them.
  const std::uint16_t flags =
      driver_.atomic16(kPackedEventFlagsOffset).load(std::memory_order_acquire);
  bool wanted = flags != kRingEventFlagsDisable;
  if (flags == kRingEventFlagsDesc && features_.event_idx) {
    const std::uint16_t event =
        driver_.atomic16(kPackedEventOffset).load(std::memory_order_relaxed);
    wanted = packed_need_event(event, next_used_.index, next_used_.wrap, count, size_);
  }
  if (!wanted) counters_->interrupts_saved.add();
  return wanted;
}

void PackedRing::want_kicks(std::uint16_t flags) noexcept {
  if (wanted_ == flags) return;
  wanted_ = flags;
  // Release: the event before the flags that speak of it (pairs with the driver's acquire).
  device_.atomic16(kPackedEventFlagsOffset).store(flags, std::memory_order_release);
}

void PackedRing::ask_for_kicks() noexcept {
  if (!features_.event_idx) return want_kicks(kRingEventFlagsEnable);
  device_.atomic16(kPackedEventOffset)
      .store(packed_event_at(next_avail_.index, next_avail_.wrap), std::memory_order_relaxed);
  want_kicks(kRingEventFlagsDesc);
}

bool PackedRing::enable_kicks() noexcept {
  ask_for_kicks();
  // Full fence between what we want to hear and our last look; pairs with the driver's between the
  // flags of its descriptors and its look at what we want. Without it both may miss the other: the
  // lost kick.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return has_available();
}

RingState PackedRing::state() const noexcept {
  return {.next_avail = next_avail_.index,
          .next_used = next_used_.index,
          .broken = broken_,
          .avail_wrap = next_avail_.wrap,
          .used_wrap = next_used_.wrap};
}

RingAreas PackedRing::areas() const noexcept {
  RingAreas areas = areas_at(desc_, driver_, device_);
  areas.packed = true;
  return areas;
}

}  // namespace bellhop
