#pragma once

#include <compare>
#include <cstdint>
#include <optional>

namespace bellhop {

/// A guest-physical address, in bytes. Arithmetic is checked: there is no operator+.
class GuestAddress {
 public:
  constexpr GuestAddress() noexcept = default;
  constexpr explicit GuestAddress(std::uint64_t value) noexcept : value_(value) {}

  [[nodiscard]] constexpr std::uint64_t value() const noexcept { return value_; }
  /// Nothing if the sum wraps around 2^64.
  [[nodiscard]] constexpr std::optional<GuestAddress> plus(std::uint64_t bytes) const noexcept {
    if (value_ + bytes < value_) return std::nullopt;
    return GuestAddress(value_ + bytes);
  }
  friend constexpr auto operator<=>(GuestAddress, GuestAddress) noexcept = default;

 private:
  std::uint64_t value_ = 0;
};

}  // namespace bellhop
