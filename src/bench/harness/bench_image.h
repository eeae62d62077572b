#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace bellhop::bench {

/// Seed of the pattern in every image of the harness.
inline constexpr std::uint64_t kImageSeed = 2010;

/// A file without a name in `folder`: nothing can leave it behind. Others reach it by inheriting
/// the descriptor and opening /proc/self/fd/N anew. Errors: name the folder.
Result<UniqueFd> make_empty_image(const std::string& folder, std::uint64_t bytes);
/// The same, filled with the bench guest's pattern of generation 1 and on the medium.
Result<UniqueFd> make_pattern_image(const std::string& folder, std::uint64_t bytes);

/// "tmpfs", "ext4", ...: the file system under `folder`.
std::string medium_name(const std::string& folder);
/// Bytes that can still be written in `folder`.
std::uint64_t free_space(const std::string& folder);

}  // namespace bellhop::bench
