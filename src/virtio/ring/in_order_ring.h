#pragma once

#include <bit>
#include <cassert>
#include <cstdint>
#include <utility>
#include <vector>

#include "virtio/ring/descriptor_chain.h"
#include "virtio/ring/ring_common.h"

namespace bellhop {

/// A ring whose chains come back in the order in which they were made available, whatever the order
/// in which they are done (VIRTIO_F_IN_ORDER; virtio 1.3, 2.7.9 and 2.8.9). What is done too early
/// counts as in flight until its turn comes.
///
/// Chains that come back together are one batch, for which only the last one's used entry is
/// written, in the place of the first one's. The driver takes the others for written to completely:
/// one that is not ends a batch.
template <class Kind>
class InOrderRing : public Kind {
 public:
  explicit InOrderRing(Kind ring)
      : Kind(std::move(ring)),
        chains_(std::bit_ceil(std::uint32_t{this->size()})),
        next_(this->taken()) {}

  Pop pop(DescriptorChain& chain) noexcept {
    const Pop answer = Kind::pop(chain);
    // Of a malformed one nobody knows what the driver takes for all of it.
    if (chain.taken_) {
      of(chain) = {.id = {}, .written = 0, .done = false, .whole = answer == Pop::kChain};
    }
    return answer;
  }

  void complete(DescriptorChain& chain, std::uint32_t written) noexcept {
    assert(chain.taken_);
    chain.taken_ = false;
    Chain& one = of(chain);
    one.id = chain.id();
    one.written = written;
    one.done = true;
    one.whole = one.whole && written == chain.writable_bytes_;
    while (next_ != this->taken() && chains_[place_of(next_)].done) finish_next();
  }

  [[nodiscard]] bool publish() noexcept {
    joins_ = false;  // what the driver sees stays as it is
    return Kind::publish();
  }

 private:
  struct Chain {
    ChainId id;
    std::uint32_t written = 0;
    bool done = false;
    bool whole = false;  ///< all that the device may write was written
  };

  [[nodiscard]] std::size_t place_of(std::uint16_t taken) const noexcept {
    return taken & (chains_.size() - 1);
  }
  [[nodiscard]] Chain& of(const DescriptorChain& chain) noexcept {
    return chains_[place_of(static_cast<std::uint16_t>(chain.next_avail_ - 1))];
  }

  void finish_next() noexcept {
    Chain& one = chains_[place_of(next_++)];
    one.done = false;
    if constexpr (Kind::kJoins) {
      if (joins_) {
        Kind::join(first_, one.id, one.written);
      } else {
        first_ = this->next_used_;
        Kind::finish(one.id, one.written);
      }
      joins_ = one.whole;
    } else {
      Kind::finish(one.id, one.written);
    }
  }

  std::vector<Chain>
      chains_;          ///< by Kind::taken(): no more are in flight than the ring has entries
  std::uint16_t next_;  ///< taken() of the one whose turn it is to come back
  bool joins_ = false;  ///< the next one may join the batch
  typename Kind::UsedPlace first_{};  ///< where the batch's used entry is
};

}  // namespace bellhop
