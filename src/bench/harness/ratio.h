#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bench/harness/statistics.h"

namespace bellhop::bench {

/// One figure of a cell, of each of its repeats, in the order of the rounds.
struct Sample {
  std::vector<double> values;
  bool disturbed = false;  ///< some of them were, and so at each try

  [[nodiscard]] double median() const { return bench::median(values); }
  [[nodiscard]] double least() const { return values.empty() ? 0 : std::ranges::min(values); }
  [[nodiscard]] double most() const { return values.empty() ? 0 : std::ranges::max(values); }
};

/// How much one cell has for each of another's: the ratio of their medians.
struct Ratio {
  enum class Verdict : std::uint8_t {
    kNone,         ///< nothing to divide, or to divide by
    kRefused,      ///< repeats were disturbed: there is no figure
    kSingle,       ///< single repeats: nothing is known of its noise
    kWithinNoise,  ///< the interval holds 1
    kAbove,
    kBelow,
  };
  double value = 0;
  std::optional<Interval> interval;
  Verdict verdict = Verdict::kNone;

  /// Whether it lies within this part of itself: 0.05 is 5 %.
  [[nodiscard]] bool is_within(double part) const {
    return interval && value > 0 && interval->high - value <= part * value &&
           value - interval->low <= part * value;
  }
};
/// "above", "within noise", ...
std::string to_string(Ratio::Verdict verdict);

/// How the cells of a report are held against each other.
struct Comparing {
  std::uint64_t seed = 1;         ///< of the intervals
  bool accept_disturbed = false;  ///< ratios of disturbed repeats are given, too

  [[nodiscard]] Ratio ratio(const Sample& above, const Sample& below) const;
  /// Of two runs; null where one was not measured.
  template <class R>
  [[nodiscard]] Ratio throughput(const R* above, const R* below) const {
    return above == nullptr || below == nullptr ? Ratio{}
                                                : ratio(above->throughput(), below->throughput());
  }
  template <class R>
  [[nodiscard]] Ratio efficiency(const R* above, const R* below) const {
    return above == nullptr || below == nullptr ? Ratio{}
                                                : ratio(above->efficiency(), below->efficiency());
  }
};

}  // namespace bellhop::bench
