#include "bench/report/gain_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "bench/report/table.h"

namespace bellhop::bench {

namespace {

// All lengths are in units of the picture, which is scaled to the page: of these a telephone shows
// about two thirds.
constexpr double kWidth = 480;
constexpr double kMargin = 16;
constexpr double kValueRoom = 118;  ///< right of the longest bar, for its figure
constexpr double kRowHeight = 56;
constexpr double kBarHeight = 13;
constexpr double kTop = 46;
constexpr double kAxisHeight = 30;
constexpr double kLeastTickGap = 34;

constexpr std::array kTicks = {0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.7,  0.8,  0.9,  1.0,
                               1.1,  1.2,  1.5,  2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0};

/// Where a ratio lies from left to right.
class Scale {
 public:
  explicit Scale(const GainChart& chart) {
    const auto take = [this](double ratio) {
      if (!(ratio > 0)) return;
      low_ = std::min(low_, ratio);
      high_ = std::max(high_, ratio);
    };
    for (const GainChart::Row& row : chart.rows) {
      take(row.today.value);
      take(row.in_2010.value_or(1));
      if (!row.today.interval) continue;
      take(row.today.interval->low);
      take(row.today.interval->high);
    }
  }
  [[nodiscard]] double at(double ratio) const {
    const double part = (std::log(ratio) - std::log(low_)) / (std::log(high_) - std::log(low_));
    return kMargin + part * (kWidth - kMargin - kValueRoom);
  }
  [[nodiscard]] bool holds(double ratio) const { return ratio >= low_ && ratio <= high_; }

 private:
  double low_ = 0.9;
  double high_ = 1.2;
};

std::string gain_of(double ratio) { return fmt::format("{:+.0f} %", (ratio - 1) * 100); }

std::string text(double x, double y, const char* kind, const std::string& words) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\">{}</text>\n", x, y, kind,
                     escape_html(words));
}

std::string line(double x1, double y1, double x2, double y2, const char* kind) {
  return fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" class=\"{}\"/>\n", x1, y1, x2,
      y2, kind);
}

std::string bar(const Scale& scale, double ratio, double y, const char* kind) {
  const double from = std::min(scale.at(1), scale.at(ratio));
  const double width = std::max(1.0, std::abs(scale.at(ratio) - scale.at(1)));
  return fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" class=\"{}\"/>\n", from,
      y, width, kBarHeight, kind);
}

std::string error_bar(const Scale& scale, const Interval& interval, double y) {
  const double low = scale.at(std::max(interval.low, 1e-3));
  const double high = scale.at(interval.high);
  const double middle = y + kBarHeight / 2;
  return line(low, middle, high, middle, "error") +
         line(low, y + 2, low, y + kBarHeight - 2, "error") +
         line(high, y + 2, high, y + kBarHeight - 2, "error");
}

/// The figure stands right of all that is drawn in its line.
std::string today_bar(const Scale& scale, const Ratio& ratio, double y) {
  if (ratio.verdict == Ratio::Verdict::kNone || ratio.verdict == Ratio::Verdict::kRefused) {
    return text(scale.at(1) + 6, y + kBarHeight - 2, "value",
                ratio.verdict == Ratio::Verdict::kRefused ? "disturbed" : "not measured");
  }
  std::string svg = bar(scale, ratio.value, y, "today");
  double right = scale.at(std::max(1.0, ratio.value));
  if (ratio.interval) {
    svg += error_bar(scale, *ratio.interval, y);
    right = std::max(right, scale.at(ratio.interval->high));
  }
  const bool noise = ratio.verdict == Ratio::Verdict::kWithinNoise;
  return svg + text(right + 6, y + kBarHeight - 2, "value",
                    noise ? "within noise" : gain_of(ratio.value));
}

std::string axis(const Scale& scale, double bottom) {
  std::string svg = line(scale.at(1), kTop - 8, scale.at(1), bottom, "zero");
  double last = -kLeastTickGap;
  const auto tick = [&](double ratio) {
    svg += line(scale.at(ratio), bottom, scale.at(ratio), bottom + 4, "zero");
    svg += text(scale.at(ratio), bottom + 18, "tick", fmt::format("{:g}", ratio));
    last = scale.at(ratio);
  };
  for (const double ratio : kTicks) {
    const double x = scale.at(ratio);
    const bool near_one = ratio != 1 && std::abs(x - scale.at(1)) < kLeastTickGap;
    if (scale.holds(ratio) && x - last >= kLeastTickGap && !near_one) tick(ratio);
  }
  return svg;
}

}  // namespace

std::string to_svg(const GainChart& chart) {
  if (chart.rows.empty()) return "";
  const Scale scale(chart);
  const double bottom = kTop + static_cast<double>(chart.rows.size()) * kRowHeight;
  std::string svg = fmt::format(
      "<svg class=\"chart\" viewBox=\"0 0 {:.0f} {:.0f}\" role=\"img\" aria-label=\"{}\">\n",
      kWidth, bottom + kAxisHeight, escape_html(chart.caption));
  svg += fmt::format("<rect x=\"{:.0f}\" y=\"8\" width=\"14\" height=\"14\" class=\"today\"/>\n",
                     kMargin);
  svg += text(kMargin + 20, 20, "label", "today");
  svg += fmt::format("<rect x=\"{:.0f}\" y=\"8\" width=\"14\" height=\"14\" class=\"then\"/>\n",
                     kMargin + 80);
  svg += text(kMargin + 100, 20, "label", "the 2010 patch");
  svg += axis(scale, bottom);
  double y = kTop;
  for (const GainChart::Row& row : chart.rows) {
    svg += text(kMargin, y + 12, "label", row.name);
    svg += today_bar(scale, row.today, y + 19);
    if (row.in_2010) {
      const double below = y + 19 + kBarHeight + 2;
      svg += bar(scale, *row.in_2010, below, "then");
      svg += text(scale.at(std::max(1.0, *row.in_2010)) + 6, below + kBarHeight - 2, "value",
                  gain_of(*row.in_2010));
    }
    y += kRowHeight;
  }
  return svg + "</svg>\n";
}

}  // namespace bellhop::bench
