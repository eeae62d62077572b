#pragma once

#include <vector>

#include "vmm/bench/figures.h"
#include "vmm/bench/table.h"

namespace bellhop::bench {

/// For each number of vCPUs and each placement: the mail's table with today's figures and bytes per
/// host CPU second beside the mail's own; and, where QEMU was measured, its figures and the ratios
/// Bellhop to QEMU.
std::vector<Table> make_tables(const BlkReport& report);

}  // namespace bellhop::bench
