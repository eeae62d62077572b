#pragma once

#include <array>
#include <cstdio>
#include <cstdlib>

#include "memory/guest_memory.h"

namespace bellhop::testing {

/// Takes the value out of a Result, or ends the test program with the error's text.
template <class T>
T must(Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "fatal: %s\n", result.error().message.c_str());
    std::abort();
  }
  return std::move(*result);
}
inline void must(const Status& status) {
  if (!status) {
    std::fprintf(stderr, "fatal: %s\n", status.error().message.c_str());
    std::abort();
  }
}

/// Two regions with a hole between them: [0, low) and [kHighBase, kHighBase + high).
inline constexpr std::uint64_t kHighBase = std::uint64_t{1} << 32;

inline GuestMemory make_memory(std::uint64_t low = std::uint64_t{16} << 20,
                               std::uint64_t high = std::uint64_t{1} << 20,
                               MemoryBacking backing = MemoryBacking::kShared) {
  const std::array regions{GuestMemory::RegionSpec{GuestAddress(0), low},
                           GuestMemory::RegionSpec{GuestAddress(kHighBase), high}};
  return must(GuestMemory::create(regions, backing));
}

}  // namespace bellhop::testing
