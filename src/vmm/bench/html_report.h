#pragma once

#include <string>

#include "vmm/bench/figures.h"

namespace bellhop::bench {

/// One page, complete in itself: the tables, plots of throughput and efficiency (by gnuplot; where
/// it is not installed the page says so), the host, and what was not run.
std::string to_html(const BlkReport& report);

}  // namespace bellhop::bench
