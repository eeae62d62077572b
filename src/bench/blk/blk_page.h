#pragma once

#include "bench/report/html_report.h"
#include "bench/report/results.h"

namespace bellhop::bench {

/// The tables, and charts of throughput and efficiency, with a group of bars for every row of the
/// tables and a bar for every VMM, notification and placement.
Page make_page(const BlkReport& report);

}  // namespace bellhop::bench
