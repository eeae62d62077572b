#include "virtio/ring/split_driver_ring.h"

#include <fmt/format.h>

#include <atomic>
#include <bit>
#include <cassert>
#include <utility>

namespace bellhop {

using namespace virtio;

namespace {

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t to) {
  return (value + to - 1) / to * to;
}

/// Only with offsets that lie within the span.
template <class T>
void put(const GuestSpan& span, std::size_t offset, const T& value) noexcept {
  [[maybe_unused]] const bool stored = span.store(offset, value);
  assert(stored);
}

}  // namespace

std::uint64_t SplitDriverRing::bytes_needed(std::uint16_t size) noexcept {
  return round_up(desc_table_bytes(size), 64) + round_up(avail_ring_bytes(size), 64) +
         round_up(used_ring_bytes(size), 64) + desc_table_bytes(size) * kDriverIndirectEntries;
}

Result<SplitDriverRing> SplitDriverRing::create(const GuestMemory& memory, GuestAddress base,
                                                std::uint16_t size, RingFeatures features,
                                                std::uint64_t used_alignment) {
  assert(std::has_single_bit(size));
  SplitDriverRing ring(size, features);
  ring.base_ = base;
  ring.avail_at_ = GuestAddress(base.value() + round_up(desc_table_bytes(size), 64));
  ring.used_at_ =
      GuestAddress(round_up(ring.avail_at_.value() + avail_ring_bytes(size), used_alignment));
  ring.indirect_at_ = GuestAddress(ring.used_at_.value() + round_up(used_ring_bytes(size), 64));
  struct Area {
    GuestSpan& span;
    GuestAddress at;
    std::uint64_t bytes;
  };
  for (const Area& area :
       {Area{ring.desc_, ring.base_, desc_table_bytes(size)},
        Area{ring.avail_, ring.avail_at_, avail_ring_bytes(size)},
        Area{ring.used_, ring.used_at_, used_ring_bytes(size)},
        Area{ring.indirect_, ring.indirect_at_, desc_table_bytes(size) * kDriverIndirectEntries}}) {
    const auto span = memory.span(area.at, area.bytes);
    if (!span) return fail(fmt::format("a ring at {:#x} leaves guest memory", base.value()));
    area.span = *span;
  }
  ring.desc_.fill(std::byte{0});
  ring.avail_.fill(std::byte{0});
  ring.used_.fill(std::byte{0});
  ring.free_next_.resize(size);
  ring.chain_length_.resize(size);
  ring.writable_.resize(size);
  for (std::uint16_t i = 0; i < size; ++i) {
    ring.link_free(static_cast<std::uint16_t>(size - 1 - i));
  }
  return ring;
}

QueueConfig SplitDriverRing::config() const noexcept {
  return {.size = size_, .ready = true, .desc = base_, .driver = avail_at_, .device = used_at_};
}

void SplitDriverRing::link_free(std::uint16_t index) noexcept {
  free_next_[index] = free_head_;
  free_head_ = index;
  ++free_count_;
}

std::optional<std::uint16_t> SplitDriverRing::add(std::span<const DriverBuffer> buffers) noexcept {
  const bool indirect = features_.indirect && buffers.size() > 1;
  const std::size_t needed = indirect ? 1 : buffers.size();
  if (needed == 0 || needed > free_count_) return std::nullopt;
  if (indirect && buffers.size() > kDriverIndirectEntries) return std::nullopt;

  const std::uint16_t head = free_head_;
  std::uint16_t index = head;
  const std::uint64_t table = desc_table_bytes(kDriverIndirectEntries) * head;
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    const bool last = i + 1 == buffers.size();
    Desc desc{};
    desc.addr = buffers[i].address.value();
    desc.len = buffers[i].length;
    desc.flags = static_cast<std::uint16_t>((buffers[i].device_writes ? kDescWrite : 0U) |
                                            (last ? 0U : kDescNext));
    if (indirect) {
      desc.next = static_cast<std::uint16_t>(i + 1);
      put(indirect_, table + i * sizeof(Desc), desc);
    } else {
      desc.next = last ? std::uint16_t{0} : free_next_[index];
      set_desc(index, desc);
      if (!last) index = free_next_[index];
    }
  }
  if (indirect) {
    Desc desc{};
    desc.addr = indirect_at_.value() + table;
    desc.len = static_cast<std::uint32_t>(buffers.size() * sizeof(Desc));
    desc.flags = kDescIndirect;
    set_desc(head, desc);
  }
  free_head_ = free_next_[index];
  free_count_ = static_cast<std::uint16_t>(free_count_ - needed);
  chain_length_[head] = static_cast<std::uint16_t>(needed);
  if (features_.in_order) writable_[head] = writable_bytes(buffers);
  push_head(head);
  return head;
}

void SplitDriverRing::push_head(std::uint16_t head) noexcept {
  put(avail_, kAvailRingOffset + 2 * (avail_idx_ & (size_ - 1U)), head);
  ++avail_idx_;
}

bool SplitDriverRing::offer() noexcept {
  const std::uint16_t old = offered_;
  if (avail_idx_ == old) return false;
  offered_ = avail_idx_;
  // Release: descriptors before the index (pairs with the device's acquire).
  avail_.atomic16(kAvailIdxOffset).store(avail_idx_, std::memory_order_release);
  // Pairs with the device's fence in SplitRing::enable_kicks().
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (features_.event_idx) {
    const std::uint16_t event =
        used_.atomic16(avail_event_offset(size_)).load(std::memory_order_relaxed);
    return need_event(event, avail_idx_, old);
  }
  return (used_.atomic16(kUsedFlagsOffset).load(std::memory_order_relaxed) & kUsedNoNotify) == 0;
}

std::uint16_t SplitDriverRing::used_idx() const noexcept {
  return used_.atomic16(kUsedIdxOffset).load(std::memory_order_acquire);
}

std::optional<UsedChain> SplitDriverRing::reap() noexcept {
  if (used_idx() == reaped_) return std::nullopt;
  UsedElem elem{};
  if (!batch_) {
    [[maybe_unused]] const bool loaded =
        used_.load(kUsedRingOffset + sizeof(UsedElem) * (reaped_ & (size_ - 1U)), elem);
    assert(loaded);
    if (features_.in_order) batch_ = UsedChain{elem.id, elem.len};
  }
  if (batch_) {
    const UsedChain next = next_of_batch();
    elem = {next.id, next.length};
  }
  ++reaped_;
  if (elem.id < size_) {
    auto index = static_cast<std::uint16_t>(elem.id);
    for (std::uint16_t i = 0; i < chain_length_[elem.id]; ++i) {
      Desc desc{};
      [[maybe_unused]] const bool read = desc_.load(std::size_t{index} * sizeof(Desc), desc);
      assert(read);
      link_free(index);
      index = desc.next;
    }
    chain_length_[elem.id] = 0;
  }
  return UsedChain{elem.id, elem.len};
}

/// The chain whose turn it is: written to completely, or the last of its batch.
UsedChain SplitDriverRing::next_of_batch() noexcept {
  std::uint16_t head = 0;
  [[maybe_unused]] const bool loaded =
      avail_.load(kAvailRingOffset + 2 * (reaped_ & (size_ - 1U)), head);
  assert(loaded && head < size_);
  if (head != batch_->id) return {head, writable_[head]};
  return *std::exchange(batch_, std::nullopt);
}

void SplitDriverRing::suppress_interrupts() noexcept {
  if (!features_.event_idx) set_avail_flags(kAvailNoInterrupt);
}

bool SplitDriverRing::enable_interrupts() noexcept {
  if (features_.event_idx) {
    set_used_event(reaped_);
  } else {
    set_avail_flags(0);
  }
  // Pairs with the device's fence in SplitRing::publish().
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return used_idx() != reaped_;
}

void SplitDriverRing::set_desc(std::uint16_t index, const Desc& desc) noexcept {
  put(desc_, std::size_t{index} * sizeof(Desc), desc);
}

void SplitDriverRing::set_avail_idx(std::uint16_t index) noexcept {
  avail_idx_ = index;
  offered_ = index;
  avail_.atomic16(kAvailIdxOffset).store(index, std::memory_order_release);
}

void SplitDriverRing::set_used_event(std::uint16_t index) noexcept {
  avail_.atomic16(used_event_offset(size_)).store(index, std::memory_order_relaxed);
}

void SplitDriverRing::set_avail_flags(std::uint16_t flags) noexcept {
  avail_.atomic16(kAvailFlagsOffset).store(flags, std::memory_order_relaxed);
}

}  // namespace bellhop
