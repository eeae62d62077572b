#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace bellhop::bench {

/// A group of bars for every row, a bar in it for every series.
struct BarChart {
  std::string unit;
  std::vector<std::string> series;
  struct Row {
    std::string name;
    std::vector<std::optional<double>> values;  ///< one for each series
  };
  std::vector<Row> rows;
};

/// The program for gnuplot that draws it.
std::string plot_script(const BarChart& chart);
/// As SVG pictures. Errors: gnuplot is missing or does not want to.
Result<std::vector<std::string>> draw_charts(const std::vector<BarChart>& charts);

}  // namespace bellhop::bench
