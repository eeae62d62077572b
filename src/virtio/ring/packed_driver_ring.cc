#include "virtio/ring/packed_driver_ring.h"

#include <fmt/format.h>

#include <atomic>
#include <cassert>
#include <cstddef>
#include <utility>

namespace bellhop {

using namespace virtio;

namespace {

constexpr std::size_t place_of(std::uint16_t index) {
  return std::size_t{index} * sizeof(PackedDesc);
}
constexpr std::size_t flags_of(std::uint16_t index) {
  return place_of(index) + offsetof(PackedDesc, flags);
}
constexpr std::uint64_t table_bytes(std::uint64_t tables) {
  return desc_table_bytes(kDriverIndirectEntries) * tables;
}

}  // namespace

Result<PackedDriverRing> PackedDriverRing::create(const GuestMemory& memory, GuestAddress base,
                                                  std::uint16_t size, RingFeatures features) {
  // The ring, 64 bytes for each of the event suppression areas, the indirect tables.
  PackedDriverRing ring(size, features);
  ring.base_ = base;
  const std::uint64_t events = desc_table_bytes(size);
  ring.indirect_at_ = GuestAddress(base.value() + events + 128);
  const auto all = memory.span(base, events + 128 + table_bytes(size));
  if (!all) return fail(fmt::format("a ring at {:#x} leaves guest memory", base.value()));
  ring.desc_ = all->part(0, events);
  ring.driver_ = all->part(events, kPackedEventBytes);
  ring.device_ = all->part(events + 64, kPackedEventBytes);
  ring.indirect_ = all->part(events + 128);
  all->part(0, events + 128).fill(std::byte{0});
  ring.slots_.resize(size);
  ring.writable_.resize(size);
  ring.order_.resize(size);
  for (std::uint16_t id = size; id > 0; --id) {
    ring.free_ids_.push_back(static_cast<std::uint16_t>(id - 1));
  }
  ring.free_count_ = size;
  // The first used descriptor is to be heard of, as in a split ring.
  if (features.event_idx) (void)ring.enable_interrupts();
  return ring;
}

QueueConfig PackedDriverRing::config() const noexcept {
  const std::uint64_t events = base_.value() + desc_table_bytes(size_);
  return {.size = size_,
          .ready = true,
          .desc = base_,
          .driver = GuestAddress(events),
          .device = GuestAddress(events + 64)};
}

void PackedDriverRing::advance(Place& place, std::uint16_t slots) const noexcept {
  const std::uint32_t index = std::uint32_t{place.index} + slots;
  const bool wraps = index >= size_;
  place.index = static_cast<std::uint16_t>(wraps ? index - size_ : index);
  place.wrap ^= wraps;
}

/// Writes a descriptor at the next place; the device does not see it, nor what follows, before the
/// first one's flags are there.
void PackedDriverRing::put(const PackedDesc& desc) noexcept {
  PackedDesc made = desc;
  made.flags |= packed_avail_flags(next_avail_.wrap);
  if (added_ == 0) {
    first_index_ = next_avail_.index;
    first_flags_ = made.flags;
    set_all_but_flags(next_avail_.index, made);  // they stay: neither available nor used
  } else {
    set_desc(next_avail_.index, made);
  }
  last_index_ = next_avail_.index;
  ++added_;
  advance(next_avail_, 1);
}

std::optional<std::uint16_t> PackedDriverRing::add(std::span<const DriverBuffer> buffers) noexcept {
  const bool indirect = features_.indirect && buffers.size() > 1;
  const std::size_t needed = indirect ? 1 : buffers.size();
  if (needed == 0 || needed > free_count_) return std::nullopt;
  if (indirect && buffers.size() > kDriverIndirectEntries) return std::nullopt;

  const std::uint16_t id = free_ids_.back();
  free_ids_.pop_back();
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    PackedDesc desc{};
    desc.addr = buffers[i].address.value();
    desc.len = buffers[i].length;
    desc.id = id;
    desc.flags = buffers[i].device_writes ? kDescWrite : std::uint16_t{0};
    if (indirect) {
      [[maybe_unused]] const bool fits =
          indirect_.store(table_bytes(id) + i * sizeof(PackedDesc), desc);
      assert(fits);
    } else {
      if (i + 1 != buffers.size()) desc.flags |= kDescNext;
      put(desc);
    }
  }
  if (indirect) {
    PackedDesc desc{};
    desc.addr = indirect_at_.value() + table_bytes(id);
    desc.len = static_cast<std::uint32_t>(buffers.size() * sizeof(PackedDesc));
    desc.id = id;
    desc.flags = kDescIndirect;
    put(desc);
  }
  free_count_ = static_cast<std::uint16_t>(free_count_ - needed);
  slots_[id] = static_cast<std::uint16_t>(needed);
  if (features_.in_order) {
    writable_[id] = writable_bytes(buffers);
    order_[order_end_++ % size_] = id;
  }
  return id;
}

bool PackedDriverRing::offer() noexcept {
  if (added_ == 0) return false;
  const std::uint16_t count = added_;
  added_ = 0;
  // Release: all descriptors before the flags of the first (pairs with the device's acquire).
  desc_.atomic16(flags_of(first_index_)).store(first_flags_, std::memory_order_release);
  // Pairs with the device's fence in PackedRing::enable_kicks().
  std::atomic_thread_fence(std::memory_order_seq_cst);
  // Acquire: what the flags speak of was written before them.
  const std::uint16_t flags =
      device_.atomic16(kPackedEventFlagsOffset).load(std::memory_order_acquire);
  if (flags != kRingEventFlagsDesc) return flags != kRingEventFlagsDisable;
  const std::uint16_t event = device_.atomic16(kPackedEventOffset).load(std::memory_order_relaxed);
  return packed_need_event(event, next_avail_.index, next_avail_.wrap, count, size_);
}

bool PackedDriverRing::is_used(Place place) const noexcept {
  // Pairs with the device's release of the flags.
  return packed_is_used(desc_.atomic16(flags_of(place.index)).load(std::memory_order_acquire),
                        place.wrap);
}

std::uint16_t PackedDriverRing::slots_of(std::uint32_t id) const noexcept {
  return id < slots_.size() ? slots_[id] : std::uint16_t{0};
}

std::optional<UsedChain> PackedDriverRing::reap() noexcept {
  UsedChain used;
  if (!batch_) {
    if (!is_used(next_used_)) return std::nullopt;
    const PackedDesc told = desc(next_used_.index);
    used = {told.id, told.len};
    if (features_.in_order) batch_ = used;
  }
  if (batch_) used = next_of_batch();
  ++reaped_;
  if (const std::uint16_t slots = slots_of(used.id); slots != 0) {
    advance(next_used_, slots);
    slots_[used.id] = 0;
    free_ids_.push_back(static_cast<std::uint16_t>(used.id));
    free_count_ = static_cast<std::uint16_t>(free_count_ + slots);
  } else {
    advance(next_used_, 1);
  }
  return used;
}

/// As SplitDriverRing::next_of_batch().
UsedChain PackedDriverRing::next_of_batch() noexcept {
  if (order_next_ == order_end_) return *std::exchange(batch_, std::nullopt);  // a device that lies
  const std::uint16_t id = order_[order_next_++ % size_];
  if (id != batch_->id) return {id, writable_[id]};
  return *std::exchange(batch_, std::nullopt);
}

std::uint16_t PackedDriverRing::used_idx() const noexcept {
  std::uint16_t all = reaped_;
  Place place = next_used_;
  if (features_.in_order) {
    // From one batch's last chain to the next one's.
    std::optional<std::uint32_t> last;
    if (batch_) last = batch_->id;
    for (std::uint64_t i = order_next_; i != order_end_; ++i) {
      const std::uint16_t id = order_[i % size_];
      if (!last && !is_used(place)) break;
      if (!last) last = desc(place.index).id;
      advance(place, slots_of(id));
      ++all;
      if (id == *last) last.reset();
    }
    return all;
  }
  for (std::uint32_t seen = 0; seen < size_ && is_used(place); ++all) {
    const std::uint16_t slots = slots_of(desc(place.index).id);
    seen += slots != 0 ? slots : 1U;
    advance(place, slots != 0 ? slots : std::uint16_t{1});
  }
  return all;
}

void PackedDriverRing::suppress_interrupts() noexcept {
  driver_.atomic16(kPackedEventFlagsOffset)
      .store(kRingEventFlagsDisable, std::memory_order_relaxed);
}

bool PackedDriverRing::enable_interrupts() noexcept {
  std::uint16_t flags = kRingEventFlagsEnable;
  if (features_.event_idx) {
    driver_.atomic16(kPackedEventOffset)
        .store(packed_event_at(next_used_.index, next_used_.wrap), std::memory_order_relaxed);
    flags = kRingEventFlagsDesc;
  }
  // Release: the event before the flags that speak of it (pairs with the device's acquire).
  driver_.atomic16(kPackedEventFlagsOffset).store(flags, std::memory_order_release);
  // Pairs with the device's fence in PackedRing::publish().
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return batch_.has_value() || is_used(next_used_);
}

void PackedDriverRing::set_all_but_flags(std::uint16_t index, const PackedDesc& desc) noexcept {
  const std::size_t place = place_of(index);
  [[maybe_unused]] const bool fits = desc_.store(place + offsetof(PackedDesc, addr), desc.addr) &&
                                     desc_.store(place + offsetof(PackedDesc, len), desc.len) &&
                                     desc_.store(place + offsetof(PackedDesc, id), desc.id);
  assert(fits);
}

void PackedDriverRing::set_desc(std::uint16_t index, const PackedDesc& desc) noexcept {
  set_all_but_flags(index, desc);
  // The device may be looking at them.
  desc_.atomic16(flags_of(index)).store(desc.flags, std::memory_order_relaxed);
}

PackedDesc PackedDriverRing::desc(std::uint16_t index) const noexcept {
  PackedDesc desc{};
  [[maybe_unused]] const bool fits = desc_.load(place_of(index), desc);
  assert(fits);
  return desc;
}

void PackedDriverRing::set_driver_event(PackedEvent event) noexcept {
  [[maybe_unused]] const bool fits = driver_.store(0, event);
  assert(fits);
}

PackedEvent PackedDriverRing::device_event() const noexcept {
  PackedEvent event{};
  [[maybe_unused]] const bool fits = device_.load(0, event);
  assert(fits);
  return event;
}

void PackedDriverRing::make_indirect() noexcept {
  if (added_ == 1) first_flags_ |= kDescIndirect;
  PackedDesc last = desc(last_index_);
  if (added_ != 1) last.flags |= kDescIndirect;
  set_desc(last_index_, last);
}

void PackedDriverRing::make_endless() noexcept {
  for (std::uint16_t i = 0; i < size_; ++i)
    put({.addr = 0, .len = 16, .id = 0, .flags = kDescNext});
  (void)offer();
}

}  // namespace bellhop
