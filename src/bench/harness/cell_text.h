#pragma once

#include <fmt/format.h>

#include <string>

#include "bench/harness/measurement.h"

// The texts in the cells of a table. A run that is not there (null) is a dash.
namespace bellhop::bench {

inline constexpr const char* kNone = "–";

inline std::string gain(double before, double after) {
  return before > 0 ? fmt::format("{:+.0f} %", (after / before - 1) * 100) : kNone;
}

inline std::string quotient(double above, double below) {
  return below > 0 ? fmt::format("{:.2f}", above / below) : kNone;
}

/// MB/s.
template <class R>
std::string throughput(const R* run) {
  return run == nullptr ? kNone : fmt::format("{:.1f}", run->median.mb_per_s());
}

/// MB per host CPU second.
template <class R>
std::string efficiency(const R* run) {
  return run == nullptr ? kNone : fmt::format("{:.0f}", run->bytes_per_host_cpu_s * 1e-6);
}

template <class R>
std::string gain(const R* before, const R* after) {
  if (before == nullptr || after == nullptr) return kNone;
  return gain(before->median.mb_per_s(), after->median.mb_per_s());
}

template <class R>
std::string throughput_ratio(const R* above, const R* below) {
  if (above == nullptr || below == nullptr) return kNone;
  return quotient(above->median.mb_per_s(), below->median.mb_per_s());
}

template <class R>
std::string efficiency_ratio(const R* above, const R* below) {
  if (above == nullptr || below == nullptr) return kNone;
  return quotient(above->bytes_per_host_cpu_s, below->bytes_per_host_cpu_s);
}

/// How far the repeats lie apart, of the median; of a single one nothing is known.
template <class R>
std::string spread(const R* run) {
  if (run == nullptr || run->repeats < 2 || run->median.mb_per_s() <= 0) return kNone;
  return fmt::format("{:.0f} %",
                     (run->most_mb_per_s - run->least_mb_per_s) / run->median.mb_per_s() * 100);
}

}  // namespace bellhop::bench
