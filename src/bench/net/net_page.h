#pragma once

#include "bench/net/net_results.h"
#include "bench/report/html_report.h"

namespace bellhop::bench {

/// The tables, and charts of the stream's throughput and efficiency.
Page make_page(const NetReport& report);

}  // namespace bellhop::bench
