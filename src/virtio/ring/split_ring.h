#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/result.h"
#include "virtio/ring/descriptor_chain.h"
#include "virtio/ring/ring_common.h"
#include "virtio/ring/ring_state.h"

namespace bellhop {

/// The device's end of one split ring (virtio 1.3, 2.7). Move-only; one thread at a time.
///
/// Contract of a drain:
///   suppress_kicks(); while (pop() == kChain) ...; publish(); if (enable_kicks()) do it again.
///
/// A chain that is malformed in itself (a loop, a buffer outside RAM, ...) is counted and
/// kMalformed: all that is left of it is its last buffer, as writable(), if that can be found and
/// is writable. A ring that is malformed (an index that jumps, a head out of range or in flight
/// already) is kBroken.
class SplitRing : public RingCommon {
 public:
  /// Checks what the driver configured. Errors (the guest's fault, to be answered by not letting
  /// the queue start): a size that is 0, no power of two or over 32768; an area that is misaligned,
  /// outside RAM or overlapping another.
  /// `state` is where the ring goes on; nothing is in flight.
  static Result<SplitRing> activate(const GuestMemory& memory, const QueueConfig& config,
                                    RingFeatures features, QueueCounters& counters,
                                    RingState state = {});

  /// How many requests the driver has offered that it cannot see answered yet, by the indices of a
  /// ring that activate() has taken: the ring itself is not touched, so that any thread may ask.
  /// Nothing if they cannot be: the driver writes one of them.
  static std::optional<std::uint16_t> outstanding(const GuestMemory& memory,
                                                  const QueueConfig& config) noexcept;

  SplitRing(SplitRing&&) noexcept = default;
  SplitRing& operator=(SplitRing&&) noexcept = default;

  /// Takes the next request into `chain`, which must be free.
  Pop pop(DescriptorChain& chain) noexcept;
  /// Puts the chain that was taken last back, as if it had never been taken: the next pop() gives
  /// it again. So may several be put back, the last one first. False, and the chain stays taken, if
  /// others were taken or refused after it.
  [[nodiscard]] bool rewind(DescriptorChain& chain) noexcept;
  /// Gives a request back; `written` is how many bytes the device wrote into its buffers. The
  /// driver sees it after the next publish().
  void complete(DescriptorChain& chain, std::uint32_t written) noexcept;
  /// Makes all completed requests visible at once. True if the driver wants an interrupt for them.
  [[nodiscard]] bool publish() noexcept;

  /// Asks the driver not to kick. A hint: kicks may still come.
  void suppress_kicks() noexcept;
  /// Asks for them, by who looks at the ring all the same: without a last look, so that one may be
  /// missed. Holds until the next chain is taken.
  void ask_for_kicks() noexcept;
  /// Asks for kicks again, and looks once more: true if requests slipped in before the driver could
  /// see that, so that the caller must drain again.
  [[nodiscard]] bool enable_kicks() noexcept;
  /// Whether the driver has offered something. Cheap.
  [[nodiscard]] bool has_available() noexcept;

  /// Where it stands; to go on elsewhere with it, nothing may be in flight.
  [[nodiscard]] RingState state() const noexcept;
  /// used.idx as the driver sees it.
  [[nodiscard]] std::uint16_t used_idx() const noexcept;
  /// Where its areas lie in this process, for a back end that is to serve it.
  [[nodiscard]] RingAreas areas() const noexcept;

 protected:
  /// InOrderRing may have it write one used entry for several chains.
  static constexpr bool kJoins = true;
  using UsedPlace = std::uint16_t;
  /// What is left of complete() for a chain that was not dropped.
  void finish(ChainId chain, std::uint32_t written) noexcept;
  /// The same, into the used entry at `first`, which was written for a chain before it and not
  /// shown yet: it stands for all chains from that one on (2.7.9).
  void join(std::uint16_t first, ChainId chain, std::uint32_t written) noexcept;
  /// Takes the chain at `head`, whatever the available ring says, as the one at its next entry.
  Pop take_again(std::uint16_t head, DescriptorChain& chain) noexcept;

  std::uint16_t next_used_ = 0;  ///< next entry to fill

 private:
  SplitRing(const GuestMemory& memory, RingFeatures features, QueueCounters& counters,
            std::uint16_t size)
      : RingCommon(memory, features, counters, size, size) {}

  Pop take(std::uint16_t head, DescriptorChain& chain) noexcept;
  void write_used(std::uint16_t entry, ChainId chain, std::uint32_t written) noexcept;
  void find_answer(std::uint16_t head, DescriptorChain& chain) const noexcept;
  [[nodiscard]] std::atomic_ref<std::uint16_t> avail_idx() const noexcept;

  // taken_ is the next entry of the available ring, too.
  GuestSpan desc_;
  GuestSpan avail_;
  GuestSpan used_;
  std::uint16_t seen_avail_ = 0;  ///< the driver's index when last read
  std::uint16_t published_ = 0;   ///< used.idx as the driver sees it
};

}  // namespace bellhop
