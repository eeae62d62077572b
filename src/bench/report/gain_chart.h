#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bench/harness/ratio.h"

namespace bellhop::bench {

/// What one way to notify has for each of another's, today and in the 2010 patch.
struct GainChart {
  struct Row {
    std::string name;
    Ratio today;
    std::optional<double> in_2010;
  };
  std::string caption;
  std::vector<Row> rows;  ///< empty: there is no chart
};

/// <svg>...</svg>: two bars for each row from 1 on, on a logarithmic scale, with the interval of
/// today's as an error bar. Colours are CSS variables of the page. Empty where there is no row.
std::string to_svg(const GainChart& chart);

}  // namespace bellhop::bench
