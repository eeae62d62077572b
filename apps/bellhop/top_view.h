#pragma once

#include <string>

#include "control/api/metrics_sample.h"

namespace bellhop {

/// What happened between two samples of one machine, as lines of text: its threads' share of a CPU,
/// rates of each queue that ran, and bytes for each second and each CPU second. `earlier` is of the
/// same machine, and not later.
std::string top_text(const control::MetricsSample& earlier, const control::MetricsSample& later);

}  // namespace bellhop
