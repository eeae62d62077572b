#include "machine/boot/memory_map.h"

#include <algorithm>

namespace bellhop {

std::vector<MapRange> make_memory_map(const GuestMemory& memory,
                                      std::span<const AddressRange> reserved) {
  std::vector<MapRange> map;
  for (const GuestMemory::Region& region : memory.regions()) {
    const std::uint64_t begin = region.base.value();
    const std::uint64_t end = begin + region.size;
    if (begin < kLegacyArea.end()) {
      if (begin < kLegacyArea.address) {
        map.push_back({begin, std::min(end, kLegacyArea.address) - begin, kMapRam});
      }
      map.push_back({kLegacyArea.address, kLegacyArea.size, kMapReserved});
      if (end > kLegacyArea.end())
        map.push_back({kLegacyArea.end(), end - kLegacyArea.end(), kMapRam});
    } else {
      map.push_back({begin, region.size, kMapRam});
    }
  }
  for (const AddressRange& range : reserved) {
    map.push_back({range.address, range.size, kMapReserved});
  }
  std::ranges::sort(map, {}, &MapRange::address);
  return map;
}

}  // namespace bellhop
