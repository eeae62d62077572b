#pragma once

#include <cstdint>

// The other vCPUs.
namespace bellhop::guest {

/// Starts the vCPUs with LAPIC ids 1 to `count` - 1 and waits (bounded) until each has arrived.
/// Returns how many vCPUs there are now, the caller's included.
std::uint32_t start_processors(std::uint32_t count);

/// Runs `task(cpu, context)` on every vCPU below `count`, the caller's (0) included, and waits for
/// all of them.
void run_on_processors(std::uint32_t count, void (*task)(std::uint32_t cpu, void* context),
                       void* context);

}  // namespace bellhop::guest
