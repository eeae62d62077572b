#pragma once

#include <vector>

#include "bench/net/net_results.h"
#include "bench/report/table.h"

namespace bellhop::bench {

/// For each placement and framing: the 2010 patch's second table with today's figures and bytes per
/// host CPU second beside the 2010 patch's own; where QEMU was measured, its figures and the ratios
/// Bellhop to QEMU; then the ping-pong and the small frames.
std::vector<Table> make_tables(const NetReport& report);

}  // namespace bellhop::bench
