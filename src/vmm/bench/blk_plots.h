#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "vmm/bench/figures.h"

namespace bellhop::bench {

/// Two SVG pictures, throughput and efficiency, each with a group of bars for every row and a bar
/// for every VMM, notification and placement. Errors: gnuplot is missing or does not want to.
Result<std::vector<std::string>> draw_plots(const BlkReport& report);
/// The program for gnuplot that draws one of them; `efficiency` chooses which.
enum class PlotOf { kThroughput, kEfficiency };
std::string plot_script(const BlkReport& report, PlotOf what);

}  // namespace bellhop::bench
