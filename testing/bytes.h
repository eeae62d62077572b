#pragma once

#include <cstddef>
#include <random>
#include <span>

namespace bellhop::testing {

/// Tests fill and compare megabytes: by one call each, not by an unoptimised loop.
[[nodiscard]] bool same_bytes(std::span<const std::byte> a, std::span<const std::byte> b);
[[nodiscard]] bool all_bytes(std::span<const std::byte> bytes, std::byte value);
/// `bytes` is a multiple of four long.
void fill_randomly(std::span<std::byte> bytes, std::mt19937& random);

}  // namespace bellhop::testing
