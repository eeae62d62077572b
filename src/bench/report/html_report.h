#pragma once

#include <string>
#include <vector>

#include "bench/harness/measurement.h"
#include "bench/report/bar_chart.h"
#include "bench/report/table.h"

namespace bellhop::bench {

/// What a report has to show.
struct Page {
  std::string title;
  std::string heading;
  std::vector<std::string> findings;  ///< sentences about what was found
  std::string introduction;           ///< HTML
  std::vector<Table> tables;
  std::vector<BarChart> charts;
};

/// One page, complete in itself: what was found, the tables, plots of the charts (by gnuplot; where
/// it is not installed the page says so), the host, and what was not run.
std::string to_html(const Page& page, const ReportBase& report);

}  // namespace bellhop::bench
