#pragma once

#include <array>
#include <cstdint>
#include <optional>

namespace bellhop {

/// The address spaces of a PC, in which a guest's accesses come and a BAR lies.
enum class IoSpace : std::uint8_t { kMmio, kPio };
inline constexpr std::array kIoSpaces{IoSpace::kMmio, IoSpace::kPio};

/// Which guest writes signal an eventfd (KVM_IOEVENTFD).
struct IoEventMatch {
  IoSpace space = IoSpace::kMmio;
  std::uint64_t address = 0;
  std::uint32_t length = 0;                ///< bytes: 1, 2, 4 or 8; 0: any width
  std::optional<std::uint64_t> datamatch;  ///< only this value; not with length 0
  friend bool operator==(const IoEventMatch&, const IoEventMatch&) = default;
};

}  // namespace bellhop
