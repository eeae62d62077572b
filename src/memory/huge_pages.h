#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop {

/// The size of huge page that guest memory is made of.
inline constexpr std::uint64_t kHugePage = std::uint64_t{2} << 20;

/// An unnamed file of `size` bytes, a multiple of kHugePage, that has all its pages. They are taken
/// from those that were set aside: one that is missing later is a SIGBUS for whoever touches it.
/// Errors: not enough of them are free, told with how many to set aside; a cgroup's limit; a kernel
/// without huge pages.
Result<UniqueFd> make_huge_file(std::uint64_t size);

}  // namespace bellhop
