#pragma once

#include <cstdint>
#include <cstdlib>

namespace bellhop::testing {

/// How often a test of endurance does it: `whole` times where the environment has
/// BELLHOP_LONG_TESTS, a tenth of that otherwise.
inline std::uint64_t many(std::uint64_t whole) {
  return std::getenv("BELLHOP_LONG_TESTS") != nullptr ? whole : whole / 10;
}

}  // namespace bellhop::testing
