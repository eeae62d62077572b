#pragma once

#include <functional>

#include "bench/blk/image_store.h"
#include "bench/harness/interleave.h"
#include "bench/report/results.h"

namespace bellhop::bench {

/// One repeat of one cell on an open image; -1 where the medium is none of ours.
using Measure = std::function<Result<Measurement>(const BlkCell&, const CpuPlan&, int image)>;

/// Runs every cell of `sweep`, the repeats of each compared set interleaved, and what `earlier` has
/// not measured yet. `report` has its settings and seed. Cells that cannot be run, or fail, are
/// listed in it with the reason. Where `measure` says kEndedByUser, it has what was done until
/// then. Errors: the images cannot be made.
Status run_blk_sweep(const BlkSweep& sweep, const BlkImages& images, const Measure& measure,
                     const Earlier<Measurement>& earlier, const SweepHooks& hooks,
                     BlkReport& report);

}  // namespace bellhop::bench
