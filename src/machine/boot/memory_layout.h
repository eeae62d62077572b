#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "machine/address_map.h"
#include "memory/guest_memory.h"

namespace bellhop {

/// Enough for boot information and the smallest kernel.
inline constexpr std::uint64_t kMinimumRam = std::uint64_t{2} << 20U;

/// `size` bytes of RAM: up to 3 GiB from 0, what is left from 4 GiB on. Errors: less than 2 MiB,
/// not a multiple of 4096, or more than 48 bits of address.
Result<std::vector<GuestMemory::RegionSpec>> ram_layout(std::uint64_t size);

}  // namespace bellhop
