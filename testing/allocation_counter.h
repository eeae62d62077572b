#pragma once

#include <atomic>
#include <cstdint>

/// Allocations of the program so far, if one of its files includes testing/count_allocations.h.
inline std::atomic<std::uint64_t> allocations{0};
