#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bellhop {

/// The bytes of a register access as a number, little-endian; at most 8 of them.
inline std::uint64_t load_le(std::span<const std::byte> data) noexcept {
  std::uint64_t value = 0;
  for (std::size_t i = std::min<std::size_t>(data.size(), 8); i-- > 0;) {
    value = value << 8 | std::to_integer<std::uint64_t>(data[i]);
  }
  return value;
}

/// Fills `data` with the low bytes of `value`; bytes past the eighth become 0.
inline void store_le(std::span<std::byte> data, std::uint64_t value) noexcept {
  for (std::byte& byte : data) {
    byte = static_cast<std::byte>(value & 0xff);
    value >>= 8;
  }
}

}  // namespace bellhop
