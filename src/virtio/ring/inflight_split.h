#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "virtio/ring/inflight_region.h"
#include "virtio/ring/ring_state.h"

namespace bellhop {

/// Notes which chains of a split ring are in flight (vhost-user, "Inflight I/O tracking").
/// One thread at a time, the ring's.
///
/// What a crash after each store leaves, and what recover() makes of it:
///
/// | last store | the region says | after recover() |
/// |---|---|---|
/// | avail entry read; counter | not in flight | taken anew (*) |
/// | inflight = 1 | in flight | done again |
/// | used element; next; last_batch_head | in flight, used_idx is the ring's | done again |
/// | used.idx of the ring | used_idx is behind by the batch | the batch is done (**) |
/// | some or all inflight = 0 of the batch | the same | the same |
/// | used_idx | done | done |
/// | recover(): inflight = 0; used_idx | as before it, or done | the same, however often |
/// | begin(): anything before version | version 0 | begun anew: nothing had been taken |
///
/// (*) next_avail is used.idx and the chains in flight. (**) It is the list's first entries; before
/// that the list is not looked at.
///
/// An interrupt that was not sent any more is made up for by DeviceLife::resume_queue(), which
/// raises one.
class InflightSplit {
 public:
  struct Recovered;
  /// Goes on with what the region says, or begins with `state` where it says nothing. The region is
  /// right afterwards, and stays so if this is cut off. `used_idx` is the used ring's. Errors (the
  /// peer's fault): a region of another kind, or for a smaller ring.
  static Result<Recovered> recover(const InflightQueue& queue, std::uint16_t size, RingState state,
                                   std::uint16_t used_idx);

  /// The chain is taken: before the medium hears of it.
  void take(std::uint16_t head) noexcept {
    InflightSplitDesc& desc = desc_[head];
    set_inflight(desc.counter, counter_++);
    set_inflight(desc.inflight, 1);
  }
  /// It was put back into the ring.
  void put_back(std::uint16_t head) noexcept { set_inflight(desc_[head].inflight, 0); }
  /// It is in the used ring, but not shown.
  void complete(std::uint16_t head) noexcept {
    // Full: a driver that offers a head again which it has not got back. It alone pays.
    if (batch_size_ == batch_.size()) [[unlikely]]
      return;
    batch_[batch_size_++] = head;
    set_inflight(desc_[head].next, last_);
    set_inflight(head_->last_batch_head, head);
    last_ = head;
  }
  /// All that was completed is shown: used.idx of the ring is `used_idx`.
  void show(std::uint16_t used_idx) noexcept {
    if (batch_size_ == 0) return;
    for (std::size_t i = 0; i < batch_size_; ++i) set_inflight(desc_[batch_[i]].inflight, 0);
    batch_size_ = 0;
    set_inflight(head_->used_idx, used_idx);
  }

 private:
  InflightSplit(InflightSplitHead& head, std::uint16_t size) noexcept
      : head_(&head), desc_(reinterpret_cast<InflightSplitDesc*>(&head + 1)), batch_(size) {}

  void begin(std::uint16_t entries, std::uint16_t used_idx) noexcept;
  void finish_batch(std::uint16_t entries, std::uint16_t used_idx) noexcept;

  InflightSplitHead* head_;
  InflightSplitDesc* desc_;
  std::uint64_t counter_ = 0;
  std::uint16_t last_ = 0;  ///< last_batch_head
  std::size_t batch_size_ = 0;
  std::vector<std::uint16_t> batch_;  ///< completed, not shown: the region's own list is not read
};

struct InflightSplit::Recovered {
  InflightSplit inflight;
  RingState state;                   ///< where the ring stands before `again` is taken
  std::vector<std::uint16_t> again;  ///< heads that are in flight, in the order of their counters
};

}  // namespace bellhop
