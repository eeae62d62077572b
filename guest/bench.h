#pragma once

#include "guest/disk.h"
#include "guest/options.h"

// The workloads. Each prints its lines and returns the exit status.
namespace bellhop::guest {

/// The block workloads, by one worker for each queue.
std::uint32_t run_block(Disk* disk, Options options, std::uint32_t vcpus);

/// What a notification of an empty queue costs, `count=` times.
std::uint32_t run_notify(Disk* disk, const Options& options);

/// Halted vCPUs for `seconds=`: what an idle machine costs its host.
std::uint32_t run_idle(const Options& options, std::uint32_t vcpus);

/// hostile=NAME or all: after each misdeed a reset and an honest read.
std::uint32_t run_hostile(Disk* disk, const Options& options, std::uint32_t vcpus);

}  // namespace bellhop::guest
