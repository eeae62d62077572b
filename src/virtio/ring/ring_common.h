#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "memory/guest_memory.h"
#include "virtio/ring/queue_config.h"
#include "virtio/ring/queue_counters.h"

namespace bellhop {

/// The answer of a ring's pop(). 'Nothing there' and 'nonsense there' are different answers.
enum class Pop : std::uint8_t {
  kChain,      ///< a request was taken
  kEmpty,      ///< the driver has offered nothing more
  kMalformed,  ///< a chain that breaks the rules was taken: to be completed, not to be served
  kBroken,     ///< the ring itself cannot be believed any more: nothing comes until a reset
};

/// One of the three areas that a ring consists of, as the driver placed it.
struct RingArea {
  const char* name;
  GuestAddress address;
  std::uint64_t bytes;
  std::uint64_t alignment;
};

/// Errors (the guest's fault): an area that is misaligned, outside RAM or overlapping another.
Result<std::array<GuestSpan, 3>> find_ring_areas(const GuestMemory& memory,
                                                 const std::array<RingArea, 3>& areas);

/// A ring's areas in this process, for a back end that is to serve it. Valid as long as the memory
/// is.
struct RingAreas {
  const GuestMemory* memory = nullptr;
  std::byte* desc = nullptr;
  std::byte* avail = nullptr;  ///< of a packed ring: the driver's event suppression
  std::byte* used = nullptr;   ///< of a packed ring: the device's event suppression
  std::uint16_t size = 0;      ///< entries
  bool packed = false;
};

/// What a ring knows of itself, whatever its layout.
class RingCommon {
 public:
  [[nodiscard]] bool event_idx() const noexcept { return features_.event_idx; }
  [[nodiscard]] bool broken() const noexcept { return broken_; }
  [[nodiscard]] std::uint16_t size() const noexcept { return size_; }
  /// Requests taken and not yet given back.
  [[nodiscard]] std::uint16_t in_flight() const noexcept { return in_flight_; }
  /// Goes up by one with each chain taken, modulo 2^16; rewind() takes one off.
  [[nodiscard]] std::uint16_t taken() const noexcept { return taken_; }

 protected:
  RingCommon(const GuestMemory& memory, RingFeatures features, QueueCounters& counters,
             std::uint16_t size, std::size_t ids)
      : memory_(&memory),
        features_(features),
        counters_(&counters),
        size_(size),
        ids_in_flight_((ids + 63) / 64, 0) {}

  [[nodiscard]] RingAreas areas_at(const GuestSpan& desc, const GuestSpan& avail,
                                   const GuestSpan& used) const noexcept {
    const auto at = [](const GuestSpan& area) {
      return static_cast<std::byte*>(area.as_iovec().iov_base);
    };
    return {
        .memory = memory_, .desc = at(desc), .avail = at(avail), .used = at(used), .size = size_};
  }

  Pop give_up() noexcept {
    if (!broken_) counters_->broken.add();
    broken_ = true;
    return Pop::kBroken;
  }
  /// False: a chain of this id is in flight already.
  [[nodiscard]] bool mark_in_flight(std::uint16_t id) noexcept {
    std::uint64_t& word = ids_in_flight_[id / 64U];
    const std::uint64_t bit = std::uint64_t{1} << (id % 64U);
    if ((word & bit) != 0) return false;
    word |= bit;
    ++in_flight_;
    return true;
  }
  void clear_in_flight(std::uint16_t id) noexcept {
    ids_in_flight_[id / 64U] &= ~(std::uint64_t{1} << (id % 64U));
    --in_flight_;
  }

  const GuestMemory* memory_;
  RingFeatures features_;
  QueueCounters* counters_;
  std::uint16_t size_;
  std::uint16_t taken_ = 0;
  std::uint16_t in_flight_ = 0;
  bool broken_ = false;

 private:
  std::vector<std::uint64_t> ids_in_flight_;  ///< one bit for each id that a driver may give
};

}  // namespace bellhop
