#pragma once

#include <cstdint>
#include <type_traits>
#include <utility>

#include "base/unique_fd.h"
#include "memory/dirty_log.h"
#include "virtio/abi/ring.h"
#include "virtio/ring/packed_ring.h"
#include "virtio/ring/queue_config.h"
#include "virtio/ring/split_ring.h"

namespace bellhop {

/// Where it is noted which guest memory a ring's device writes. What is pointed at outlives the
/// ring.
struct RingLog {
  DirtyLog pages;
  /// Of the used ring, or what the device wants to hear, as the log has it: a front end may give
  /// another address than the guest's.
  GuestAddress device;
  /// Signalled when something was noted; null: nobody asks.
  const EventFd* changed = nullptr;
};

/// A ring of any kind that notes all guest memory that is written through it, for a live migration:
/// buffers, used entries and what the device wants to hear. Buffers are noted whole, whatever a
/// device says it has written: a frame that was dropped lies in one, too. Contract: the kind's.
///
/// Each page is noted after it was written. Buffers are so before the driver can see that the
/// request is done; all of it before the call returns, and so before the ring can be stopped.
template <class Kind>
class LoggedRing final : public Kind {
 public:
  /// A ring that has taken nothing yet; `config` is what it was made of.
  LoggedRing(Kind ring, const QueueConfig& config, const RingLog& log) noexcept
      : Kind(std::move(ring)), log_(log), desc_(config.desc), shown_(used_place()) {}

  // All of it apart: what is inlined here would make the callers of other rings larger, too.

  [[gnu::cold, gnu::noinline]] Pop pop(DescriptorChain& chain) noexcept { return Kind::pop(chain); }
  [[nodiscard, gnu::cold, gnu::noinline]] bool has_available() noexcept {
    return Kind::has_available();
  }
  [[nodiscard, gnu::cold, gnu::noinline]] RingState state() const noexcept { return Kind::state(); }
  [[nodiscard, gnu::cold, gnu::noinline]] bool rewind(DescriptorChain& chain) noexcept {
    mark_buffers(chain);
    return Kind::rewind(chain);
  }
  [[gnu::cold, gnu::noinline]] void complete(DescriptorChain& chain,
                                             std::uint32_t written) noexcept {
    mark_buffers(chain);
    Kind::complete(chain, written);
  }
  [[nodiscard, gnu::cold, gnu::noinline]] bool publish() noexcept {
    const bool wanted = Kind::publish();
    if (const std::uint16_t place = used_place(); place != shown_) {
      mark_used(place);
      shown_ = place;
    }
    tell();
    return wanted;
  }
  [[gnu::cold, gnu::noinline]] void suppress_kicks() noexcept {
    Kind::suppress_kicks();
    // A split ring leaves its avail_event as it is.
    if (!kSplit || !this->event_idx()) mark_wish();
    tell();
  }
  [[gnu::cold, gnu::noinline]] void ask_for_kicks() noexcept {
    Kind::ask_for_kicks();
    mark_wish();
    tell();
  }
  [[nodiscard, gnu::cold, gnu::noinline]] bool enable_kicks() noexcept {
    const bool more = Kind::enable_kicks();
    mark_wish();
    tell();
    return more;
  }

 private:
  static constexpr bool kSplit = std::is_base_of_v<SplitRing, Kind>;

  void mark(GuestAddress address, std::uint64_t offset, std::uint64_t bytes) noexcept {
    log_.pages.mark(GuestAddress(address.value() + offset), bytes);
    marked_ = true;
  }
  void mark_buffers(DescriptorChain& chain) noexcept {
    chain.for_each_writable(
        [this](const GuestSpan& part) { mark(this->memory_->address_of(part), 0, part.size()); });
  }
  /// Where the next used entry goes; with the wrap counter of a packed ring, so that a whole round
  /// is not taken for none.
  [[nodiscard]] std::uint16_t used_place() const noexcept {
    if constexpr (kSplit) {
      return this->next_used_;
    } else {
      return virtio::packed_event_at(this->next_used_.index, this->next_used_.wrap);
    }
  }
  void mark_used(std::uint16_t place) noexcept {
    if constexpr (kSplit) {
      const auto mask = static_cast<std::uint16_t>(this->size() - 1U);
      const auto count = static_cast<std::uint16_t>(place - shown_);
      mark_entries(log_.device, virtio::kUsedRingOffset, sizeof(virtio::UsedElem), shown_ & mask,
                   count);
      mark(log_.device, virtio::kUsedIdxOffset, sizeof(std::uint16_t));
    } else {
      const auto from = static_cast<std::uint16_t>(shown_ & 0x7fffU);
      const auto to = static_cast<std::uint16_t>(place & 0x7fffU);
      const unsigned count = to > from ? to - from : to + this->size() - from;
      mark_entries(desc_, 0, sizeof(virtio::PackedDesc), from, count);
    }
  }
  /// `count` entries of `bytes` each from entry `from` on, past the ring's end and from its start.
  void mark_entries(GuestAddress area, std::uint64_t offset, std::uint64_t bytes, unsigned from,
                    unsigned count) noexcept {
    const unsigned to_end = this->size() - from;
    const unsigned first = count < to_end ? count : to_end;
    mark(area, offset + bytes * from, bytes * first);
    const unsigned rest = count - first < this->size() ? count - first : this->size();
    if (rest != 0) mark(area, offset, bytes * rest);
  }
  void mark_wish() noexcept {
    if constexpr (!kSplit) {
      mark(log_.device, 0, virtio::kPackedEventBytes);
    } else {
      mark(log_.device,
           this->event_idx() ? virtio::avail_event_offset(this->size()) : virtio::kUsedFlagsOffset,
           sizeof(std::uint16_t));
    }
  }
  void tell() noexcept {
    if (std::exchange(marked_, false) && log_.changed != nullptr) log_.changed->signal();
  }

  RingLog log_;
  GuestAddress desc_;
  std::uint16_t shown_;  ///< used_place() at the last publish()
  bool marked_ = false;  ///< something that nobody was told of
};

}  // namespace bellhop
