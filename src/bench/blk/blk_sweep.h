#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "bench/harness/interleave.h"
#include "bench/report/results.h"

namespace bellhop::bench {

struct BlkImages {
  std::string folder = ".";
  std::uint64_t image_bytes = std::uint64_t{256} << 20;
  /// Apparent size of the file that `create` starts with: nothing of it is there yet.
  std::uint64_t create_bytes = std::uint64_t{8} << 30;
};

/// One repeat of one cell on an open image.
using Measure = std::function<Result<Measurement>(const BlkCell&, const CpuPlan&, int image)>;

/// Runs every cell of `sweep`, the repeats of each compared set interleaved, and what `earlier` has
/// not measured yet. `report` has its settings and seed. Cells that cannot be run, or fail, are
/// listed in it with the reason. Where `measure` says kEndedByUser, it has what was done until
/// then. Errors: the images cannot be made.
Status run_blk_sweep(const BlkSweep& sweep, const BlkImages& images, const Measure& measure,
                     const Earlier<Measurement>& earlier, const SweepHooks& hooks,
                     BlkReport& report);

}  // namespace bellhop::bench
