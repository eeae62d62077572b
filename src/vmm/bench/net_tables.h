#pragma once

#include <vector>

#include "vmm/bench/net_figures.h"
#include "vmm/bench/table.h"

namespace bellhop::bench {

/// For each placement and framing: the mail's second table with today's figures and bytes per host
/// CPU second beside the mail's own; where QEMU was measured, its figures and the ratios Bellhop to
/// QEMU; then the ping-pong and the small frames.
std::vector<Table> make_tables(const NetReport& report);

}  // namespace bellhop::bench
