#pragma once

#include "vmm/bench/html_report.h"
#include "vmm/bench/net_figures.h"

namespace bellhop::bench {

/// The tables, and charts of the stream's throughput and efficiency.
Page make_page(const NetReport& report);

}  // namespace bellhop::bench
