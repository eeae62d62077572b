#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace bellhop {

/// "4096", "4K", "512M", "2G", "1T": powers of 1024, upper or lower case, an optional trailing
/// "B" or "iB". Errors: not a number, another unit, over 2^63.
Result<std::uint64_t> parse_size(std::string_view text);
std::string format_size(std::uint64_t bytes);

/// "50us", "3ms", "2s", "100ns"; a bare number means microseconds.
Result<std::chrono::nanoseconds> parse_duration(std::string_view text);

}  // namespace bellhop
