#pragma once

#include <vector>

#include "bench/report/results.h"
#include "bench/report/table.h"

namespace bellhop::bench {

/// For each number of vCPUs and each placement: the 2010 patch's table with today's figures and
/// bytes per host CPU second beside the 2010 patch's own; and, for each QEMU that was measured, its
/// figures and the ratios Bellhop to it.
std::vector<Table> make_tables(const BlkReport& report);

}  // namespace bellhop::bench
