#include "devices/net/rx_filter.h"

#include <algorithm>

namespace bellhop {

namespace {

constexpr std::size_t kMacBytes = 6;
constexpr MacAddress kBroadcast = 0xffff'ffff'ffff;
constexpr std::uint16_t kVlanType = 0x8100;  // IEEE 802.1Q
constexpr std::uint16_t kVlanIdMask = 0x0fff;
constexpr std::size_t kTypeOffset = 12;
constexpr std::size_t kTagOffset = 14;

std::uint16_t load_be16(std::span<const std::byte> bytes, std::size_t at) noexcept {
  return static_cast<std::uint16_t>((std::to_integer<unsigned>(bytes[at]) << 8) |
                                    std::to_integer<unsigned>(bytes[at + 1]));
}

}  // namespace

MacAddress load_mac(const std::byte* bytes) noexcept {
  MacAddress mac = 0;
  for (std::size_t i = kMacBytes; i-- > 0;)
    mac = (mac << 8) | std::to_integer<MacAddress>(bytes[i]);
  return mac;
}

void store_mac(MacAddress mac, std::byte* bytes) noexcept {
  for (std::size_t i = 0; i < kMacBytes; ++i) bytes[i] = static_cast<std::byte>(mac >> (8 * i));
}

void RxFilter::Table::set(std::span<const MacAddress> list, std::size_t given) noexcept {
  list = list.first(std::min(list.size(), kMaxAddresses));
  for (std::size_t i = 0; i < list.size(); ++i) {
    addresses_[i].store(list[i], std::memory_order_relaxed);
  }
  count_.store(given > list.size() ? kMaxAddresses + 1 : list.size(), std::memory_order_release);
}

bool RxFilter::Table::has(MacAddress mac) const noexcept {
  const std::size_t count = count_.load(std::memory_order_acquire);
  if (count > kMaxAddresses) return true;
  for (std::size_t i = 0; i < count; ++i) {
    if (addresses_[i].load(std::memory_order_relaxed) == mac) return true;
  }
  return false;
}

void RxFilter::reset(MacAddress own, Vlans vlans) noexcept {
  // Drivers that do not filter at all expect everything (5.1.6.5.1: until told otherwise).
  modes_.store(static_cast<std::uint32_t>(Mode::kPromiscuous), std::memory_order_relaxed);
  set_own(own);
  unicast_.set({}, 0);
  multicast_.set({}, 0);
  const std::uint64_t bits = vlans == Vlans::kAll ? ~std::uint64_t{0} : 0;
  for (auto& word : vlans_) word.store(bits, std::memory_order_relaxed);
}

void RxFilter::set_mode(Mode mode, bool on) noexcept {
  const auto bit = static_cast<std::uint32_t>(mode);
  if (on) {
    modes_.fetch_or(bit, std::memory_order_relaxed);
  } else {
    modes_.fetch_and(~bit, std::memory_order_relaxed);
  }
}

void RxFilter::set_vlan(std::uint16_t id, bool on) noexcept {
  const std::uint64_t bit = std::uint64_t{1} << (id % 64U);
  auto& word = vlans_[(id & kVlanIdMask) / 64U];
  if (on) {
    word.fetch_or(bit, std::memory_order_relaxed);
  } else {
    word.fetch_and(~bit, std::memory_order_relaxed);
  }
}

bool RxFilter::accepts_by_address_and_vlan(std::span<const std::byte> head) const noexcept {
  if (head.size() < kTypeOffset + 2) return false;
  if (load_be16(head, kTypeOffset) == kVlanType && head.size() >= kTagOffset + 2) {
    const unsigned id = load_be16(head, kTagOffset) & kVlanIdMask;
    const std::uint64_t word = vlans_[id / 64].load(std::memory_order_relaxed);
    if ((word >> (id % 64) & 1) == 0) return false;
  }
  const MacAddress to = load_mac(head.data());
  if (to == kBroadcast) return !has(Mode::kNoBroadcast);
  if (is_multicast(to)) {
    if (has(Mode::kNoMulticast)) return false;
    return has(Mode::kAllMulticast) || multicast_.has(to);
  }
  if (has(Mode::kNoUnicast)) return false;
  return to == own() || has(Mode::kAllUnicast) || unicast_.has(to);
}

}  // namespace bellhop
