#pragma once

#include <string>
#include <vector>

namespace bellhop::bench {

/// Cells by two figures, for each of which more is better.
struct Scatter {
  struct Point {
    std::size_t series = 0;  ///< of `series`, at most kMaxScatterSeries
    std::string label;
    double x = 0;
    double y = 0;
  };
  std::string caption;
  std::string x_title;
  std::string y_title;
  std::vector<std::string> series;
  std::vector<Point> points;  ///< empty: there is no picture
};
inline constexpr std::size_t kMaxScatterSeries = 6;

/// <svg>...</svg>, both axes logarithmic: a mark of its own kind and colour for each series, so
/// that it can be read in print as well. Points that are not above 0 are left out. Colours are CSS
/// variables of the page. Empty where there is no point.
std::string to_svg(const Scatter& scatter);

}  // namespace bellhop::bench
