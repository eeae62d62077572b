#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "machine/address_map.h"
#include "memory/guest_memory.h"

namespace bellhop {

/// One entry of the map that a PC's firmware gives to the kernel. The types are those of ACPI's
/// table "Address Range Types" (ACPI 6.5, 15).
struct MapRange {
  std::uint64_t address = 0;
  std::uint64_t size = 0;
  std::uint32_t type = 0;
};
inline constexpr std::uint32_t kMapRam = 1;
inline constexpr std::uint32_t kMapReserved = 2;

/// The whole map, ascending: RAM without the legacy area, which is reserved, and `reserved`.
std::vector<MapRange> make_memory_map(const GuestMemory& memory,
                                      std::span<const AddressRange> reserved);

}  // namespace bellhop
