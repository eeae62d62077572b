#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/harness/host_load.h"
#include "bench/harness/ratio.h"

namespace bellhop::bench {

/// How often each cell is measured.
struct Rounds {
  unsigned least = 3;
  unsigned most = 3;
  /// Between them it goes on until each ratio's interval lies within this part of the ratio.
  double within = 0.05;
  [[nodiscard]] bool is_fixed() const noexcept { return least == most; }
};
/// "one run of 3 s", "median of 5 x 3 s", "median of 3 to 15 x 3 s".
std::string describe(const Rounds& rounds, double seconds);

struct NotRun {
  std::string cell;
  std::string reason;
  bool failed = false;  ///< it was tried
};

/// What every report has besides its runs.
struct ReportBase {
  nlohmann::ordered_json host;
  nlohmann::ordered_json floors;
  std::string date;                ///< when it began: "2026-11-28 20:15 UTC"
  std::string command;             ///< that measures the same again
  nlohmann::ordered_json options;  ///< what was asked for, by the names of the options
  LoadReport load;
  std::vector<NotRun> not_run;
  Comparing comparing;
  bool interrupted = false;  ///< cells or repeats are missing

  /// Whether a cell was tried without a result; cells that this host cannot run do not count.
  [[nodiscard]] bool has_failures() const;
  /// Whether this one was tried without a result.
  [[nodiscard]] bool has_failed(const std::string& cell) const;
};

/// Cells that were not run for one reason.
struct NotRunGroup {
  std::string reason;
  std::vector<std::string> cells;
  bool failed = false;
};
/// Each reason once, in the order in which they came; what failed first.
std::vector<NotRunGroup> group_not_run(const std::vector<NotRun>& not_run);
/// The cells that were not run, under their reason; empty if all were.
std::string not_run_text(const ReportBase& report);

inline constexpr const char* kDisturbedHeading =
    "Disturbed repeats (other load on this host, or its host's), and so at each try:\n";
inline constexpr const char* kTwoPeaksHeading =
    "Repeats with two speeds (the best cut into two groups leaves less variance than in 99 of 100\n"
    "even samples), of which a median tells one only:\n";
/// "142.0 MB/s in 7 of 9, 281.0 in the others".
std::string describe(const TwoPeaks& peaks, std::size_t repeats);
/// Of each run of a report that has repeats which stayed disturbed one line, and of each that has
/// two speeds; empty if there are none.
template <class Report>
std::vector<std::string> notes_about(const Report& report) {
  std::string disturbed;
  std::string peaked;
  for (const auto& run : report.runs) {
    const std::string cell = "  " + describe(run.cell) + ": ";
    if (run.disturbed() > 0) {
      disturbed +=
          cell + std::to_string(run.disturbed()) + " of " + std::to_string(run.repeats()) + "\n";
    }
    if (const auto peaks = find_two_peaks(run.throughput().values)) {
      peaked += cell + describe(*peaks, run.repeats()) + "\n";
    }
  }
  std::vector<std::string> notes;
  if (!disturbed.empty()) notes.push_back(std::string(kDisturbedHeading) + disturbed);
  if (!peaked.empty()) notes.push_back(std::string(kTwoPeaksHeading) + peaked);
  return notes;
}

}  // namespace bellhop::bench
