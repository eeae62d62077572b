#include "machine/boot/memory_layout.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"

namespace bellhop {

Result<std::vector<GuestMemory::RegionSpec>> ram_layout(std::uint64_t size) {
  constexpr std::uint64_t kMaximum = (std::uint64_t{1} << 47U) - kRamHole.end();
  if (size < kMinimumRam || size > kMaximum) {
    return fail(fmt::format("{} of memory: from {} to {} is possible", format_size(size),
                            format_size(kMinimumRam), format_size(kMaximum)));
  }
  if (size % 4096 != 0) {
    return fail(fmt::format("{} bytes of memory are not a multiple of 4096", size));
  }
  std::vector<GuestMemory::RegionSpec> regions;
  const std::uint64_t low = std::min(size, kRamHole.address);
  regions.push_back({GuestAddress(0), low});
  if (size > low) regions.push_back({GuestAddress(kRamHole.end()), size - low});
  return regions;
}

}  // namespace bellhop
