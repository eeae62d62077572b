#include "virtio/ring/split_ring.h"

#include <fmt/format.h>

#include <atomic>
#include <bit>

#include "virtio/abi/ring.h"
#include "virtio/ring/chain_walker.h"

namespace bellhop {

using namespace virtio;

namespace {

/// As far as a malformed chain is followed to its end: a driver may feed us many.
constexpr unsigned kMaxHopsToAnswer = 1024;

}  // namespace

Result<SplitRing> SplitRing::activate(const GuestMemory& memory, const QueueConfig& config,
                                      RingFeatures features, QueueCounters& counters,
                                      RingState state) {
  const std::uint32_t size = config.size;
  if (!std::has_single_bit(size) || size > kMaxQueueSize) {
    return fail(fmt::format("queue size {} is not a power of two up to {}", size, kMaxQueueSize));
  }
  const auto areas = find_ring_areas(
      memory, {{
                  {"descriptor table", config.desc, desc_table_bytes(size), kDescAlign},
                  {"available ring", config.driver, avail_ring_bytes(size), kAvailAlign},
                  {"used ring", config.device, used_ring_bytes(size), kUsedAlign},
              }});
  if (!areas) return forward(areas);
  SplitRing queue(memory, features, counters, config.size);
  queue.desc_ = (*areas)[0];
  queue.avail_ = (*areas)[1];
  queue.used_ = (*areas)[2];
  queue.taken_ = state.next_avail;
  queue.seen_avail_ = state.next_avail;
  queue.next_used_ = state.next_used;
  queue.published_ = state.next_used;
  queue.broken_ = state.broken;
  return queue;
}

std::optional<std::uint16_t> SplitRing::outstanding(const GuestMemory& memory,
                                                    const QueueConfig& config) noexcept {
  const auto avail = memory.span(config.driver, avail_ring_bytes(config.size));
  const auto used = memory.span(config.device, used_ring_bytes(config.size));
  if (!avail || !used) return std::nullopt;
  // In this order: what is answered in between would be missing in the difference. Acquire: the
  // second is not read before the first.
  const std::uint16_t answered = used->atomic16(kUsedIdxOffset).load(std::memory_order_acquire);
  const std::uint16_t offered = avail->atomic16(kAvailIdxOffset).load(std::memory_order_relaxed);
  const auto count = static_cast<std::uint16_t>(offered - answered);
  return count <= config.size ? std::optional(count) : std::nullopt;
}

std::atomic_ref<std::uint16_t> SplitRing::avail_idx() const noexcept {
  return avail_.atomic16(kAvailIdxOffset);
}

std::uint16_t SplitRing::used_idx() const noexcept {
  return used_.atomic16(kUsedIdxOffset).load(std::memory_order_relaxed);
}

bool SplitRing::has_available() noexcept {
  if (broken_) return false;
  // Pairs with the driver's release of avail.idx: its descriptors are visible after it.
  if (seen_avail_ == taken_) seen_avail_ = avail_idx().load(std::memory_order_acquire);
  return seen_avail_ != taken_;
}

Pop SplitRing::pop(DescriptorChain& chain) noexcept {
  assert(!chain.taken_);
  if (broken_) return Pop::kBroken;
  if (!has_available()) return Pop::kEmpty;
  if (static_cast<std::uint16_t>(seen_avail_ - taken_) > size_) return give_up();
  const std::size_t slot = taken_ & (size_ - 1U);
  std::uint16_t head = 0;
  if (!avail_.load(kAvailRingOffset + 2 * slot, head)) return give_up();
  return take(head, chain);
}

[[gnu::always_inline]] inline Pop SplitRing::take(std::uint16_t head,
                                                  DescriptorChain& chain) noexcept {
  if (head >= size_ || !mark_in_flight(head)) return give_up();
  ++taken_;
  chain.head_ = head;
  chain.next_avail_ = taken_;
  chain.taken_ = true;
  if (ChainWalker::walk(*memory_, desc_, head, features_.indirect, chain)) [[likely]] {
    counters_->chains.add();
    return Pop::kChain;
  }
  counters_->bad_chains.add();
  find_answer(head, chain);
  return Pop::kMalformed;
}

Pop SplitRing::take_again(std::uint16_t head, DescriptorChain& chain) noexcept {
  assert(!chain.taken_);
  if (broken_) return Pop::kBroken;
  const Pop answer = take(head, chain);
  // The driver's index is to be read anew once these are over.
  seen_avail_ = taken_;
  return answer;
}

/// The last buffer of a malformed chain, however long the chain is, as far as links can be
/// followed.
void SplitRing::find_answer(std::uint16_t head, DescriptorChain& chain) const noexcept {
  ChainWalker::keep_only({}, chain);
  GuestSpan table = desc_;
  std::uint32_t entries = size_;
  std::uint32_t index = head;
  bool direct = true;
  for (unsigned hops = 0; hops < kMaxHopsToAnswer; ++hops) {
    Desc desc{};
    if (index >= entries || !table.load(std::size_t{index} * sizeof(Desc), desc)) return;
    if ((desc.flags & kDescIndirect) != 0) {
      const auto indirect = memory_->span(GuestAddress(desc.addr), desc.len);
      if (!direct || !features_.indirect || !indirect) return;
      table = *indirect;
      entries = desc.len / std::uint32_t{sizeof(Desc)};
      index = 0;
      direct = false;
      continue;
    }
    if ((desc.flags & kDescNext) == 0) {
      const auto last = memory_->span(GuestAddress(desc.addr), desc.len);
      if ((desc.flags & kDescWrite) != 0 && last) ChainWalker::keep_only(*last, chain);
      return;
    }
    index = desc.next;
  }
}

/// Into the used ring's entry; the next one to fill is one further in any case.
[[gnu::always_inline]] inline void SplitRing::write_used(std::uint16_t entry, ChainId chain,
                                                         std::uint32_t written) noexcept {
  const UsedElem elem{chain.head, written};
  const std::size_t slot = entry & (size_ - 1U);
  [[maybe_unused]] const bool fits = used_.store(kUsedRingOffset + sizeof(UsedElem) * slot, elem);
  assert(fits);
  ++next_used_;
  clear_in_flight(chain.head);
  counters_->completions.add();
}

void SplitRing::complete(DescriptorChain& chain, std::uint32_t written) noexcept {
  assert(chain.taken_);
  chain.taken_ = false;
  write_used(next_used_, chain.id(), written);
}

void SplitRing::finish(ChainId chain, std::uint32_t written) noexcept {
  write_used(next_used_, chain, written);
}

void SplitRing::join(std::uint16_t first, ChainId chain, std::uint32_t written) noexcept {
  write_used(first, chain, written);
}

bool SplitRing::rewind(DescriptorChain& chain) noexcept {
  assert(chain.taken_);
  if (chain.next_avail_ != taken_) return false;
  chain.taken_ = false;
  // The entry is fetched anew by the next pop(), and may be another one then: it is only ever
  // judged by what it is when it is taken.
  --taken_;
  clear_in_flight(chain.head_);
  counters_->chains.take_back();
  return true;
}

bool SplitRing::publish() noexcept {
  if (next_used_ == published_) return false;
  const std::uint16_t old = published_;
  // Release: the used entries and the data come before the index (pairs with the driver's acquire).
  used_.atomic16(kUsedIdxOffset).store(next_used_, std::memory_order_release);
  published_ = next_used_;
  counters_->batches.add();
  // Full fence between used.idx and the driver's suppression state; pairs with the one that the
  // driver has between its suppression state and its last look at used.idx (2.7.7.2, 2.7.8).
  std::atomic_thread_fence(std::memory_order_seq_cst);
  bool wanted = false;
  if (features_.event_idx) {
    const std::uint16_t event =
        avail_.atomic16(used_event_offset(size_)).load(std::memory_order_relaxed);
    wanted = need_event(event, published_, old);
  } else {
    const std::uint16_t flags = avail_.atomic16(kAvailFlagsOffset).load(std::memory_order_relaxed);
    wanted = (flags & kAvailNoInterrupt) == 0;
  }
  if (!wanted) counters_->interrupts_saved.add();
  return wanted;
}

void SplitRing::suppress_kicks() noexcept {
  // With EVENT_IDX an avail_event that is left behind says the same already (2.7.10).
  if (!features_.event_idx) {
    used_.atomic16(kUsedFlagsOffset).store(kUsedNoNotify, std::memory_order_relaxed);
  }
}

RingState SplitRing::state() const noexcept {
  return {.next_avail = taken_, .next_used = next_used_, .broken = broken_};
}

RingAreas SplitRing::areas() const noexcept { return areas_at(desc_, avail_, used_); }

void SplitRing::ask_for_kicks() noexcept {
  if (features_.event_idx) {
    used_.atomic16(avail_event_offset(size_)).store(taken_, std::memory_order_relaxed);
  } else {
    used_.atomic16(kUsedFlagsOffset).store(0, std::memory_order_relaxed);
  }
}

bool SplitRing::enable_kicks() noexcept {
  ask_for_kicks();
  // Full fence between our suppression state and our last look; pairs with the driver's between
  // avail.idx and its look at our suppression state. Without it both may miss the other: the lost
  // kick.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return has_available();
}

}  // namespace bellhop
