#pragma once

#include <fmt/format.h>

#include <string>

#include "bench/harness/measurement.h"
#include "bench/report/table.h"

// The texts in the cells of a table.
namespace bellhop::bench {

inline constexpr const char* kNone = "–";

/// "1.25 (1.20-1.31)", "within noise (0.97-1.08)", "disturbed"; "1.25 (–)" of single repeats.
Table::Cell ratio_cell(const Ratio& ratio);
/// The same as a gain: "+25 % (+20 to +31)".
Table::Cell gain_cell(const Ratio& ratio);
/// A gain of others, whose repeats nobody knows.
std::string plain_gain(double before, double after);

inline std::string quotient(double above, double below) {
  return below > 0 ? fmt::format("{:.2f}", above / below) : kNone;
}

/// How far the repeats lie apart, of the median; of a single one nothing is known. Null: not
/// measured.
template <class R>
std::string spread(const R* run) {
  if (run == nullptr || run->repeats() < 2) return kNone;
  const Sample sample = run->throughput();
  const double median = sample.median();
  if (!(median > 0)) return kNone;
  return fmt::format("{:.0f} %", (sample.most() - sample.least()) / median * 100);
}

/// Where there is no figure: "failed", or a dash.
inline Table::Cell missing(bool failed) {
  return failed ? Table::Cell("failed", Tone::kBad) : Table::Cell(kNone);
}

}  // namespace bellhop::bench
