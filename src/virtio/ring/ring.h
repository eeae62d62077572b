#pragma once

#include <cassert>
#include <cstdint>
#include <new>
#include <optional>
#include <utility>
#include <variant>

#include "base/result.h"
#include "virtio/ring/in_order_ring.h"
#include "virtio/ring/logged_ring.h"
#include "virtio/ring/packed_ring.h"
#include "virtio/ring/split_ring.h"
#include "virtio/ring/tracked_packed_ring.h"
#include "virtio/ring/tracked_split_ring.h"

namespace bellhop {

/// The device's end of one ring, split or packed, as the driver has chosen, and either with its
/// requests in flight noted where the driver's side asks for that: what queues are served by. One
/// predictable branch a call tells a split ring from the others, a second a packed one, and none
/// where they are the same. What costs something for a few rings costs the others nothing: requests
/// in flight or memory that is written noted, buffers kept in order.
/// Contract, answers and errors are SplitRing's. Move-only; one thread at a time.
class Ring {
  template <class... All>
  struct List {
    using Any = std::variant<All..., LoggedRing<All>...>;
  };
  using Kinds =
      List<SplitRing, PackedRing, TrackedSplitRing, TrackedPackedRing, InOrderRing<SplitRing>,
           InOrderRing<PackedRing>, InOrderRing<TrackedSplitRing>, InOrderRing<TrackedPackedRing>>;

  // Calls are passed by value, so that what they hold stays in registers.
  template <class Variant, class Call>
  static auto visit_one(Variant& ring, Call call) noexcept {
    if (auto* const split = std::get_if<SplitRing>(&ring)) [[likely]]
      return call(*split);
    if (auto* const packed = std::get_if<PackedRing>(&ring)) [[likely]]
      return call(*packed);
    if (auto* const split = std::get_if<TrackedSplitRing>(&ring)) return call(*split);
    if (auto* const packed = std::get_if<TrackedPackedRing>(&ring)) return call(*packed);
    return visit_in_order(ring, call);
  }
  // Apart, so that the others are as small as they would be without them.
  template <class Variant, class Call>
  [[gnu::noinline]] static auto visit_in_order(Variant& ring, Call call) noexcept {
    if (auto* const split = std::get_if<InOrderRing<SplitRing>>(&ring)) return call(*split);
    if (auto* const packed = std::get_if<InOrderRing<PackedRing>>(&ring)) return call(*packed);
    if (auto* const split = std::get_if<InOrderRing<TrackedSplitRing>>(&ring)) return call(*split);
    if (auto* const packed = std::get_if<InOrderRing<TrackedPackedRing>>(&ring)) {
      return call(*packed);
    }
    return visit_logged(ring, call, Kinds());
  }
  template <class Variant, class Call, class First, class... More>
  [[gnu::cold, gnu::noinline]] static auto visit_logged(Variant& ring, Call call,
                                                        List<First, More...> /*kinds*/) noexcept {
    auto* const one = std::get_if<LoggedRing<First>>(&ring);
    if constexpr (sizeof...(More) == 0) {
      return call(*one);
    } else {
      return one != nullptr ? call(*one) : visit_logged(ring, call, List<More...>());
    }
  }
  template <class Call>
  auto visit(Call call) noexcept {
    return visit_one(ring_, call);
  }
  template <class Call>
  auto visit(Call call) const noexcept {
    return visit_one(ring_, call);
  }

 public:
  // NOLINTBEGIN: it is one of its kinds
  template <class Kind>
  Ring(Kind ring) noexcept : ring_(std::move(ring)) {
    assert(&common() == std::get_if<Kind>(&ring_));
  }
  // NOLINTEND

  /// Checks what the driver configured, and goes on where `state` says. With `inflight` requests in
  /// flight are noted there; it outlives the ring and counts for more than `state`. With `log` the
  /// memory is that is written. Errors of `inflight`: InflightSplit::recover(),
  /// InflightPacked::recover().
  static Result<Ring> activate(const GuestMemory& memory, const QueueConfig& config,
                               RingFeatures features, QueueCounters& counters, RingState state = {},
                               const std::optional<InflightQueue>& inflight = {},
                               const std::optional<RingLog>& log = {}) {
    const auto logged = [&](auto ring) {
      return log ? Ring(LoggedRing(std::move(ring), config, *log)) : Ring(std::move(ring));
    };
    const auto made = [&](auto ring) -> Result<Ring> {
      if (!ring) return forward(ring);
      if (features.in_order) return logged(InOrderRing(std::move(*ring)));
      return logged(std::move(*ring));
    };
    if (features.packed && inflight) {
      return made(
          TrackedPackedRing::activate(memory, config, features, counters, state, *inflight));
    }
    if (features.packed) {
      return made(PackedRing::activate(memory, config, features, counters, state));
    }
    if (inflight) {
      return made(TrackedSplitRing::activate(memory, config, features, counters, state, *inflight));
    }
    return made(SplitRing::activate(memory, config, features, counters, state));
  }

  Pop pop(DescriptorChain& chain) noexcept {
    return visit([&chain](auto& ring) { return ring.pop(chain); });
  }
  [[nodiscard]] bool rewind(DescriptorChain& chain) noexcept {
    return visit([&chain](auto& ring) { return ring.rewind(chain); });
  }
  void complete(DescriptorChain& chain, std::uint32_t written) noexcept {
    visit([&chain, written](auto& ring) { ring.complete(chain, written); });
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

  /// Where its areas lie, for a back end that is to serve it. It must be a plain ring: of what is
  /// kept beside the areas nobody else knows.
  [[nodiscard]] RingAreas areas() const noexcept {
    if (const auto* const split = std::get_if<SplitRing>(&ring_)) return split->areas();
    assert(std::holds_alternative<PackedRing>(ring_));
    return std::get_if<PackedRing>(&ring_)->areas();
  }

 private:
  /// At the variant's own place in all of them, which the compiler does not see where they are so
  /// many: no question which it is.
  [[nodiscard]] const RingCommon& common() const noexcept {
    return *std::launder(reinterpret_cast<const RingCommon*>(&ring_));
  }

  Kinds::Any ring_;
};

}  // namespace bellhop
