#pragma once

#include <bit>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "virtio/abi/ring.h"
#include "virtio/ring/inflight_region.h"
#include "virtio/ring/ring_state.h"

namespace bellhop {

/// Notes which chains of a packed ring are in flight, with copies of their descriptors: used ones
/// are written over them (vhost-user, "Inflight I/O tracking"). One thread at a time, the ring's.
///
/// Batches are of one chain: each is noted and shown before the next. A batch of several would
/// leave used descriptors behind its first one, which nobody had shown when the process was killed:
/// the driver would take them for the next ones that are shown.
///
/// What a crash after each store leaves, and what recover() makes of it:
///
/// | last store | the region says | after recover() |
/// |---|---|---|
/// | take(): copies, num, last, counter | all of it in the free list | taken anew from the ring |
/// | inflight = 1 | in the free list, and in flight | inflight cleared: taken anew |
/// | free_head with old_free_head | in flight | done again |
/// | length and id of the used descriptor | in flight | done again (*) |
/// | show(): next of the last; free_head | in flight; the old list | free_head back: done again |
/// | idx and wrap of used | ahead; the ring's flags: available | both back: done again |
/// | flags of the used descriptor | ahead; the flags: used (**) | done: the old ones follow |
/// | inflight = 0; old_free_head | the same | the same |
/// | old idx and wrap of used | done | done |
/// | put_back(): next of the chain's last | in flight | done again |
/// | both free heads | in the free list, and in flight | inflight cleared: taken anew |
/// | recover(): any | as before it, or later in this table | the same, however often |
/// | begin(): anything before version | version 0 | begun anew: nothing had been taken |
///
/// (*) Whatever is done next is written over them. (**) Or the driver has offered the place again.
///
/// Index and wrap counter are one store, here and in the look for what was shown: a chain that
/// fills its ring moves the counter alone, and between two stores a place would be taken for that
/// of another round.
class InflightPacked {
 public:
  struct Recovered;
  /// What a ring tells recover() of itself: the flags of its descriptor at an index.
  using FlagsAt = std::function<std::uint16_t(std::uint16_t)>;
  /// Goes on with what the region says, or begins with `state` where it says nothing. The region is
  /// right afterwards, and stays so if this is cut off. Errors (the peer's fault): a region of
  /// another kind or for a smaller ring; places outside the ring, lists with loops or loose ends.
  static Result<Recovered> recover(const InflightQueue& queue, std::uint16_t size, RingState state,
                                   const FlagsAt& flags_at);

  /// A chain of `slots` descriptors is being taken: its entry, by which it is known from now on.
  /// Then copy() for each of them, and taken().
  [[nodiscard]] std::uint16_t entry() const noexcept { return free_.head; }
  void copy(const virtio::PackedDesc& desc) noexcept {
    InflightPackedDesc& to = desc_[copying_];
    set_inflight(to.addr, desc.addr);
    set_inflight(to.len, desc.len);
    set_inflight(to.id, desc.id);
    set_inflight(to.flags, desc.flags);
    last_copied_ = copying_;
    copying_ = next_[copying_];
  }
  /// Before the medium hears of it.
  void taken(std::uint16_t slots) noexcept {
    const std::uint16_t entry = free_.head;
    InflightPackedDesc& first = desc_[entry];
    last_[entry] = last_copied_;
    set_inflight(first.num, slots);
    set_inflight(first.last, last_copied_);
    set_inflight(first.counter, counter_++);
    set_inflight(first.inflight, 1);
    free_ = {.head = copying_, .old_head = copying_};
    set_free();
  }
  /// It was put back into the ring.
  void put_back(std::uint16_t entry) noexcept;
  /// Its used descriptor is about to be shown: the used index will be that of `state`.
  void show(std::uint16_t entry, std::uint16_t used_idx, bool wrap) noexcept {
    link_free(entry);
    free_.head = entry;
    set_free();
    used_.idx = used_idx;
    used_.wrap = wrap ? 1 : 0;
    set_used();
  }
  void shown(std::uint16_t entry) noexcept {
    set_inflight(desc_[entry].inflight, 0);
    free_.old_head = entry;
    set_free();
    used_.old_idx = used_.idx;
    used_.old_wrap = used_.wrap;
    set_used();
  }

 private:
  InflightPacked(InflightPackedHead& head, std::uint16_t entries)
      : head_(&head),
        desc_(reinterpret_cast<InflightPackedDesc*>(&head + 1)),
        next_(entries),
        last_(entries) {}

  void begin(const RingState& state) noexcept;
  Status check_head(std::uint16_t size) const;
  void finish_batch(const FlagsAt& flags_at) noexcept;
  Result<std::vector<bool>> read_free_list() noexcept;
  void set_free() noexcept { set_inflight(head_->free, std::bit_cast<std::uint32_t>(free_)); }
  void set_used() noexcept { set_inflight(head_->used, std::bit_cast<std::uint64_t>(used_)); }
  /// The chain of `entry` comes before the free ones.
  void link_free(std::uint16_t entry) noexcept {
    next_[last_[entry]] = free_.head;
    set_inflight(desc_[last_[entry]].next, free_.head);
    copying_ = entry;
  }

  InflightPackedHead* head_;
  InflightPackedDesc* desc_;
  InflightPackedFree free_{};
  InflightPackedUsed used_{};
  std::uint64_t counter_ = 0;
  // The lists as we have made them: those of the region are not read.
  std::uint16_t copying_ = 0;  ///< the entry that the next copy() fills
  std::uint16_t last_copied_ = 0;
  std::vector<std::uint16_t> next_;
  std::vector<std::uint16_t> last_;  ///< of the chain that an entry begins
};

/// A chain that is in flight.
struct InflightChain {
  std::uint64_t counter = 0;
  std::uint16_t entry = 0;
  std::vector<virtio::PackedDesc> descs;
};

struct InflightPacked::Recovered {
  InflightPacked inflight;
  RingState state;                   ///< where the ring stands before `again` is taken
  std::vector<InflightChain> again;  ///< in the order of their counters
};

}  // namespace bellhop
