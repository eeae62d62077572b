#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bellhop {

/// An Ethernet address: its six bytes, the first one lowest.
using MacAddress = std::uint64_t;

/// From the six bytes at `bytes`.
MacAddress load_mac(const std::byte* bytes) noexcept;
void store_mac(MacAddress mac, std::byte* bytes) noexcept;
constexpr bool is_multicast(MacAddress mac) noexcept { return (mac & 1) != 0; }

/// Which received frames the driver wants to see (virtio 1.3, 5.1.6.5.1 to 5.1.6.5.3). The control
/// queue writes, the receive queues read, on any threads: a frame that comes during a change is
/// judged by the old state or the new one, entry by entry.
class RxFilter {
 public:
  /// Addresses in each table; a driver that gives more gets all frames of that kind.
  static constexpr std::size_t kMaxAddresses = 64;
  /// What accepts() looks at: addresses, type and one VLAN tag.
  static constexpr std::size_t kHeadBytes = 18;

  enum class Mode : std::uint32_t {
    kPromiscuous = 1,  ///< everything, whatever else is said
    kAllMulticast = 2,
    kAllUnicast = 4,
    kNoMulticast = 8,
    kNoUnicast = 16,
    kNoBroadcast = 32,
  };
  enum class Vlans : std::uint8_t { kAll, kListed };

  /// As a driver finds it: promiscuous, and with `vlans` kListed no VLAN listed.
  void reset(MacAddress own, Vlans vlans) noexcept;
  void set_mode(Mode mode, bool on) noexcept;
  void set_own(MacAddress own) noexcept { own_.store(own, std::memory_order_relaxed); }
  [[nodiscard]] MacAddress own() const noexcept { return own_.load(std::memory_order_relaxed); }
  /// `given` addresses, of which `list` has the first kMaxAddresses at most.
  void set_unicast(std::span<const MacAddress> list, std::size_t given) noexcept {
    unicast_.set(list, given);
  }
  void set_multicast(std::span<const MacAddress> list, std::size_t given) noexcept {
    multicast_.set(list, given);
  }
  /// `id` is below 4096.
  void set_vlan(std::uint16_t id, bool on) noexcept;

  /// Whether a frame that begins with `head` (shorter than kHeadBytes only if the frame is) goes to
  /// the driver.
  [[nodiscard]] bool accepts(std::span<const std::byte> head) const noexcept {
    if (has(Mode::kPromiscuous)) return true;
    return accepts_by_address_and_vlan(head);
  }

 private:
  class Table {
   public:
    void set(std::span<const MacAddress> list, std::size_t given) noexcept;
    [[nodiscard]] bool has(MacAddress mac) const noexcept;

   private:
    std::atomic<std::size_t> count_{0};  ///< over kMaxAddresses: has everything
    std::array<std::atomic<MacAddress>, kMaxAddresses> addresses_{};
  };

  [[nodiscard]] bool has(Mode mode) const noexcept {
    return (modes_.load(std::memory_order_relaxed) & static_cast<std::uint32_t>(mode)) != 0;
  }
  [[nodiscard]] bool accepts_by_address_and_vlan(std::span<const std::byte> head) const noexcept;

  std::atomic<std::uint32_t> modes_{static_cast<std::uint32_t>(Mode::kPromiscuous)};
  std::atomic<MacAddress> own_{0};
  Table unicast_;
  Table multicast_;
  std::array<std::atomic<std::uint64_t>, 4096 / 64> vlans_{};
};

}  // namespace bellhop
