#include "machine/boot/memory_map.h"

#include <algorithm>

namespace bellhop {

std::vector<MapRange> make_memory_map(const GuestMemory& memory,
                                      std::span<const AddressRange> reserved) {
  std::vector<MapRange> map;
  for (const GuestMemory::Region& region : memory.regions()) {
    const std::uint64_t begin = region.base.value();
    const std::uint64_t end = begin + region.size;
    if (begin < kLegacyEnd) {
      if (begin < kLegacyBegin) {
        map.push_back({begin, std::min(end, kLegacyBegin) - begin, kMapRam});
      }
      map.push_back({kLegacyBegin, kLegacyEnd - kLegacyBegin, kMapReserved});
      if (end > kLegacyEnd) map.push_back({kLegacyEnd, end - kLegacyEnd, kMapRam});
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
