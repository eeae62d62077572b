#include "testing/bytes.h"

#include <cstdint>
#include <cstring>

namespace bellhop::testing {

bool same_bytes(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

bool all_bytes(std::span<const std::byte> bytes, std::byte value) {
  // All are alike where each is what its neighbour is.
  return bytes.empty() ||
         (bytes.front() == value && same_bytes(bytes.subspan(1), bytes.first(bytes.size() - 1)));
}

void fill_randomly(std::span<std::byte> bytes, std::mt19937& random) {
  for (std::size_t i = 0; i + 4 <= bytes.size(); i += 4) {
    const auto value = static_cast<std::uint32_t>(random());
    std::memcpy(&bytes[i], &value, sizeof value);
  }
}

}  // namespace bellhop::testing
