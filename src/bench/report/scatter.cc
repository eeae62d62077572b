#include "bench/report/scatter.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>

#include "bench/report/table.h"

namespace bellhop::bench {

namespace {

// In units of the picture, which is scaled to the page.
constexpr double kScatterWidth = 480;
constexpr double kAreaLeft = 64;
constexpr double kAreaRight = 40;  ///< room for a label
constexpr double kAreaHeight = 280;
constexpr double kLegendLine = 22;
constexpr double kBelowArea = 46;
constexpr double kMarkSize = 6;
constexpr double kLeastGap = 30;  ///< between ticks
constexpr double kLetter = 7.5;   ///< about the width of one

/// One axis: figures to units, logarithmic, with some room at both ends.
class Axis {
 public:
  Axis(double low, double high, double from, double to) : from_(from), to_(to) {
    constexpr double kRoom = 1.12;
    low_ = std::log(low / kRoom);
    high_ = std::log(high * kRoom);
  }
  [[nodiscard]] double at(double figure) const {
    return from_ + (std::log(figure) - low_) / (high_ - low_) * (to_ - from_);
  }
  /// 1, 2 and 5 of each power of ten, as far as there is room.
  [[nodiscard]] std::vector<double> ticks() const {
    std::vector<double> ticks;
    double last = from_ < to_ ? -1e9 : 1e9;
    const auto first = static_cast<int>(std::floor(low_ / std::log(10.0)));
    const auto end = static_cast<int>(std::ceil(high_ / std::log(10.0)));
    for (int power = first; power <= end; ++power) {
      for (const int digit : {1, 2, 5}) {
        const double figure = digit * std::pow(10.0, power);
        if (std::log(figure) < low_ || std::log(figure) > high_) continue;
        if (std::abs(at(figure) - last) < kLeastGap) continue;
        ticks.push_back(figure);
        last = at(figure);
      }
    }
    return ticks;
  }

 private:
  double from_;
  double to_;
  double low_ = 0;
  double high_ = 0;
};

std::string scatter_text(double x, double y, const char* kind, const std::string& text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\">{}</text>\n", x, y, kind,
                     escape_html(text));
}

std::string scatter_line(double x1, double y1, double x2, double y2, const char* kind) {
  return fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" class=\"{}\"/>\n", x1, y1, x2,
      y2, kind);
}

/// Circle, square, triangle, diamond, cross, hourglass: told apart without colours, too.
std::string mark(std::size_t series, double x, double y) {
  assert(series < kMaxScatterSeries);
  const std::string kind = fmt::format("series{}", series);
  const auto polygon = [&](std::initializer_list<std::pair<double, double>> corners) {
    std::string points;
    for (const auto& [dx, dy] : corners) {
      points += fmt::format("{}{:.1f},{:.1f}", points.empty() ? "" : " ", x + dx * kMarkSize,
                            y + dy * kMarkSize);
    }
    return fmt::format("<polygon points=\"{}\" class=\"{}\"/>", points, kind);
  };
  switch (series) {
    case 0:
      return fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\" class=\"{}\"/>", x, y,
                         kMarkSize, kind);
    case 1:
      return polygon({{-0.9, -0.9}, {0.9, -0.9}, {0.9, 0.9}, {-0.9, 0.9}});
    case 2:
      return polygon({{0, -1.1}, {1.1, 0.9}, {-1.1, 0.9}});
    case 3:
      return polygon({{0, -1.3}, {1.3, 0}, {0, 1.3}, {-1.3, 0}});
    case 5:
      return polygon({{-1, -1.1}, {1, -1.1}, {-1, 1.1}, {1, 1.1}});
    default:
      return polygon({{-0.4, -1.2},
                      {0.4, -1.2},
                      {0.4, -0.4},
                      {1.2, -0.4},
                      {1.2, 0.4},
                      {0.4, 0.4},
                      {0.4, 1.2},
                      {-0.4, 1.2},
                      {-0.4, 0.4},
                      {-1.2, 0.4},
                      {-1.2, -0.4},
                      {-0.4, -0.4}});
  }
}

/// In as many lines as it takes; `bottom` gets where it ends.
std::string legend(const std::vector<std::string>& series, double& bottom) {
  std::string svg;
  double x = kAreaLeft;
  double y = 16;
  for (std::size_t i = 0; i < series.size(); ++i) {
    const double width = 34 + static_cast<double>(series[i].size()) * kLetter;
    if (x > kAreaLeft && x + width > kScatterWidth) {
      x = kAreaLeft;
      y += kLegendLine;
    }
    svg += mark(i, x + 7, y - 5) + "\n" + scatter_text(x + 20, y, "label", series[i]);
    x += width;
  }
  bottom = y + 10;
  return svg;
}

std::string axes(const Axis& across, const Axis& up, double top, double bottom,
                 const Scatter& scatter) {
  std::string svg = scatter_line(kAreaLeft, bottom, kScatterWidth - kAreaRight, bottom, "zero") +
                    scatter_line(kAreaLeft, top, kAreaLeft, bottom, "zero");
  for (const double tick : across.ticks()) {
    svg += scatter_line(across.at(tick), bottom, across.at(tick), bottom + 4, "zero");
    svg += scatter_text(across.at(tick), bottom + 18, "tick", fmt::format("{:g}", tick));
  }
  for (const double tick : up.ticks()) {
    svg += scatter_line(kAreaLeft - 4, up.at(tick), kAreaLeft, up.at(tick), "zero");
    svg += scatter_text(kAreaLeft - 8, up.at(tick) + 4, "left", fmt::format("{:g}", tick));
  }
  svg += scatter_text((kAreaLeft + kScatterWidth - kAreaRight) / 2, bottom + 38, "tick",
                      scatter.x_title);
  const double middle = (top + bottom) / 2;
  svg += fmt::format(
      "<text x=\"14\" y=\"{:.1f}\" class=\"tick\" transform=\"rotate(-90 14 {:.1f})\">{}</text>\n",
      middle, middle, escape_html(scatter.y_title));
  return svg;
}

}  // namespace

std::string to_svg(const Scatter& scatter) {
  std::vector<Scatter::Point> points = scatter.points;
  std::erase_if(points, [](const Scatter::Point& p) { return !(p.x > 0) || !(p.y > 0); });
  if (points.empty()) return "";
  double top = 0;
  const std::string names = legend(scatter.series, top);
  const double bottom = top + kAreaHeight;
  const auto [left, right] = std::ranges::minmax(points, {}, &Scatter::Point::x);
  const auto [low, high] = std::ranges::minmax(points, {}, &Scatter::Point::y);
  const Axis across(left.x, right.x, kAreaLeft, kScatterWidth - kAreaRight);
  const Axis up(low.y, high.y, bottom, top);
  std::string svg = fmt::format(
      "<svg class=\"chart\" viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" aria-label=\"{}\">\n",
      kScatterWidth, bottom + kBelowArea, escape_html(scatter.caption));
  svg += names + axes(across, up, top, bottom, scatter);
  for (const Scatter::Point& point : points) {
    const double x = across.at(point.x);
    const double y = up.at(point.y);
    svg += fmt::format("<g><title>{}, {}: {:.1f} {}, {:.1f} {}</title>{}</g>\n",
                       escape_html(scatter.series.at(point.series)), escape_html(point.label),
                       point.x, escape_html(scatter.x_title), point.y, escape_html(scatter.y_title),
                       mark(point.series, x, y));
    svg += scatter_text(x + kMarkSize + 3, y - 4, "value", point.label);
  }
  return svg + "</svg>\n";
}

}  // namespace bellhop::bench
