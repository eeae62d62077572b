#pragma once

#include <string>
#include <vector>

#include "bench/harness/report_base.h"
#include "bench/report/gain_chart.h"
#include "bench/report/scatter.h"
#include "bench/report/table.h"

namespace bellhop::bench {

/// What a report has to show.
struct Page {
  std::string title;
  std::string heading;
  std::string headline;               ///< all of it in one sentence; may be empty
  std::vector<std::string> findings;  ///< sentences about what was found
  std::string introduction;           ///< HTML
  std::vector<Table> tables;
  GainChart chart;
  std::vector<Scatter> scatters;
  std::vector<std::string> notes;  ///< lines about disturbed repeats, two speeds
};

/// One page, complete in itself: what was found, chart and drawing, scatters, the tables with their
/// words explained where they stand first, what was not run, the host, its load, and the command.
std::string to_html(const Page& page, const ReportBase& report);

}  // namespace bellhop::bench
