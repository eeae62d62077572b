#include "bus/bus.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace bellhop {

struct Bus::Table {
  struct Slot {
    std::atomic<std::uint64_t> base = 0;
    std::atomic<std::uint64_t> size = 0;
    std::atomic<BusDevice*> device = nullptr;
  };
  explicit Table(std::size_t size) : capacity(size), slots(std::make_unique<Slot[]>(size)) {}

  const std::size_t capacity;
  std::atomic<std::size_t> count = 0;  // never above capacity
  const std::unique_ptr<Slot[]> slots;
};

namespace {
constexpr std::size_t kFirstCapacity = 32;
}  // namespace

Bus::Bus(std::string name, std::uint64_t last) : name_(std::move(name)), last_(last) {
  tables_.push_back(std::make_unique<Table>(kFirstCapacity));
  table_.store(tables_.back().get(), std::memory_order_release);
}

Bus::~Bus() = default;

Status Bus::insert(std::uint64_t base, std::uint64_t size, BusDevice& device) {
  if (size == 0 || base > last_ || size - 1 > last_ - base) {
    return fail(fmt::format("{}: {} bytes at {:#x} are not a range", name_, size, base), EINVAL);
  }
  const std::lock_guard lock(mutex_);
  const auto after = std::ranges::upper_bound(ranges_, base, {}, &Range::base);
  const bool hits_next = after != ranges_.end() && after->base - base < size;
  const bool hits_previous =
      after != ranges_.begin() && base - (after - 1)->base < (after - 1)->size;
  if (hits_next || hits_previous) {
    const Range& other = hits_next ? *after : *(after - 1);
    return fail(fmt::format("{}: {} bytes at {:#x} overlap {} bytes at {:#x}", name_, size, base,
                            other.size, other.base),
                EEXIST);
  }
  ranges_.insert(after, Range{base, size, &device});
  if (ranges_.size() > tables_.back()->capacity) {
    tables_.push_back(std::make_unique<Table>(tables_.back()->capacity * 2));
  }
  publish();
  return {};
}

bool Bus::remove(std::uint64_t base) noexcept {
  const std::lock_guard lock(mutex_);
  const auto range = std::ranges::find(ranges_, base, &Range::base);
  if (range == ranges_.end()) return false;
  ranges_.erase(range);
  publish();
  return true;
}

// The order that find() relies on: odd sequence, then the slots, then an even sequence.
void Bus::publish() noexcept {
  const std::uint64_t sequence = sequence_.load(std::memory_order_relaxed);
  sequence_.store(sequence + 1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  Table& table = *tables_.back();
  for (std::size_t i = 0; i < ranges_.size(); ++i) {
    table.slots[i].base.store(ranges_[i].base, std::memory_order_relaxed);
    table.slots[i].size.store(ranges_[i].size, std::memory_order_relaxed);
    table.slots[i].device.store(ranges_[i].device, std::memory_order_relaxed);
  }
  table.count.store(ranges_.size(), std::memory_order_relaxed);
  table_.store(&table, std::memory_order_release);  // the table's own memory, for a new one
  sequence_.store(sequence + 2, std::memory_order_release);
}

// The range that takes the whole access, or one without a device. A search among slots that change
// may go astray, but stays within the table; its answer is then thrown away.
Bus::Range Bus::find(std::uint64_t address, std::size_t length) const noexcept {
  for (;;) {
    const std::uint64_t before = sequence_.load(std::memory_order_acquire);
    const Table& table = *table_.load(std::memory_order_acquire);
    std::size_t low = 0;
    std::size_t high = table.count.load(std::memory_order_relaxed);
    while (low < high) {
      const std::size_t middle = (low + high) / 2;
      if (table.slots[middle].base.load(std::memory_order_relaxed) <= address) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    Range range;
    if (low != 0) {
      range.base = table.slots[low - 1].base.load(std::memory_order_relaxed);
      range.size = table.slots[low - 1].size.load(std::memory_order_relaxed);
      range.device = table.slots[low - 1].device.load(std::memory_order_relaxed);
    }
    std::atomic_thread_fence(std::memory_order_acquire);
    if ((before & 1U) != 0 || sequence_.load(std::memory_order_relaxed) != before) {
      __builtin_ia32_pause();
      continue;
    }
    const std::uint64_t offset = address - range.base;
    if (range.device == nullptr || offset >= range.size) {
      unmapped_.fetch_add(1, std::memory_order_relaxed);
      return {};
    }
    if (length > range.size - offset) {
      straddling_.fetch_add(1, std::memory_order_relaxed);
      return {};
    }
    return range;
  }
}

bool Bus::read(std::uint64_t address, std::span<std::byte> data) const noexcept {
  const Range range = find(address, data.size());
  if (range.device == nullptr) {
    std::ranges::fill(data, std::byte{0xff});
    return false;
  }
  range.device->read(address - range.base, data);
  return true;
}

bool Bus::write(std::uint64_t address, std::span<const std::byte> data) const noexcept {
  const Range range = find(address, data.size());
  if (range.device == nullptr) return false;
  range.device->write(address - range.base, data);
  return true;
}

Bus::Faults Bus::faults() const noexcept {
  return {unmapped_.load(std::memory_order_relaxed), straddling_.load(std::memory_order_relaxed)};
}

}  // namespace bellhop
