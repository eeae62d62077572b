#pragma once

#include <functional>

#include "bench/blk/image_store.h"
#include "bench/harness/interleave.h"
#include "bench/study/study_results.h"

namespace bellhop::bench {

/// One repeat of one cell; `image` is open, or -1 for a null medium.
using MeasureStudy =
    std::function<Result<Measurement>(const StudyCell&, const CpuPlan&, int image)>;

/// Runs every cell of `sweep`, the ways of each spot interleaved, and what `earlier` has not
/// measured yet. `images` says what the images of all media are like, but for their folders.
/// `report` has its settings and seed. Cells that cannot be run, or fail, are listed in it with the
/// reason. Where `measure` says kEndedByUser, it has what was done until then. Errors: images
/// cannot be made.
Status run_study(const StudySweep& sweep, const BlkImages& images, const MeasureStudy& measure,
                 const Earlier<Measurement>& earlier, const SweepHooks& hooks, StudyReport& report);

}  // namespace bellhop::bench
