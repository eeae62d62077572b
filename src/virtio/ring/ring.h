#pragma once

#include <cassert>
#include <cstdint>
#include <utility>
#include <variant>

#include "base/result.h"
#include "virtio/ring/packed_ring.h"
#include "virtio/ring/split_ring.h"

namespace bellhop {

/// The device's end of one ring, split or packed, as the driver has chosen: what queues are served
/// by. One predictable branch a call tells the two apart, and none where they are the same.
/// Contract, answers and errors are SplitRing's. Move-only; one thread at a time.
class Ring {
  template <class Call>
  auto visit(Call&& call) noexcept {
    if (auto* const split = std::get_if<SplitRing>(&ring_)) [[likely]]
      return call(*split);
    return call(*std::get_if<PackedRing>(&ring_));
  }
  template <class Call>
  auto visit(Call&& call) const noexcept {
    if (const auto* const split = std::get_if<SplitRing>(&ring_)) [[likely]]
      return call(*split);
    return call(*std::get_if<PackedRing>(&ring_));
  }

 public:
  Ring(SplitRing ring) noexcept : ring_(std::move(ring)) {}   // NOLINT: one of its two kinds
  Ring(PackedRing ring) noexcept : ring_(std::move(ring)) {}  // NOLINT: the other

  /// Checks what the driver configured, and goes on where `state` says.
  static Result<Ring> activate(const GuestMemory& memory, const QueueConfig& config,
                               RingFeatures features, QueueCounters& counters,
                               RingState state = {}) {
    if (features.packed) {
      auto ring = PackedRing::activate(memory, config, features, counters, state);
      if (!ring) return forward(ring);
      return Ring(std::move(*ring));
    }
    auto ring = SplitRing::activate(memory, config, features, counters, state);
    if (!ring) return forward(ring);
    return Ring(std::move(*ring));
  }

  Pop pop(DescriptorChain& chain) noexcept {
    return visit([&](auto& ring) { return ring.pop(chain); });
  }
  [[nodiscard]] bool rewind(DescriptorChain& chain) noexcept {
    return visit([&](auto& ring) { return ring.rewind(chain); });
  }
  void complete(DescriptorChain& chain, std::uint32_t written) noexcept {
    visit([&](auto& ring) { ring.complete(chain, written); });
  }
  [[nodiscard]] bool publish() noexcept {
    return visit([](auto& ring) { return ring.publish(); });
  }
  void suppress_kicks() noexcept {
    visit([](auto& ring) { ring.suppress_kicks(); });
  }
  void ask_for_kicks() noexcept {
    visit([](auto& ring) { ring.ask_for_kicks(); });
  }
  [[nodiscard]] bool enable_kicks() noexcept {
    return visit([](auto& ring) { return ring.enable_kicks(); });
  }
  [[nodiscard]] bool has_available() noexcept {
    return visit([](auto& ring) { return ring.has_available(); });
  }
  [[nodiscard]] RingState state() const noexcept {
    return visit([](const auto& ring) { return ring.state(); });
  }

  [[nodiscard]] bool event_idx() const noexcept { return common().event_idx(); }
  [[nodiscard]] bool broken() const noexcept { return common().broken(); }
  [[nodiscard]] std::uint16_t size() const noexcept { return common().size(); }
  [[nodiscard]] std::uint16_t in_flight() const noexcept { return common().in_flight(); }
  [[nodiscard]] std::uint16_t taken() const noexcept { return common().taken(); }

  /// For back ends that serve split rings only. It must be one.
  [[nodiscard]] const SplitRing& split() const noexcept {
    assert(std::holds_alternative<SplitRing>(ring_));
    return *std::get_if<SplitRing>(&ring_);
  }

 private:
  /// The same place in both, which the compiler sees.
  [[nodiscard]] const RingCommon& common() const noexcept {
    return *visit([](const auto& ring) -> const RingCommon* { return &ring; });
  }

  std::variant<SplitRing, PackedRing> ring_;
};

}  // namespace bellhop
