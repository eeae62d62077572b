#pragma once

#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace bellhop::bench {

// What every sweep measures, and the shape of every report. The schema that all share is in
// docs/measuring.md.

/// Microseconds.
struct Latency {
  double p50 = 0;
  double p99 = 0;
  double p999 = 0;
  double max = 0;
};

/// What is absent is not to be known from outside of that VMM.
struct Counters {
  std::optional<std::uint64_t> userspace_exits;
  std::optional<std::uint64_t> kicks;
  std::optional<std::uint64_t> spurious_kicks;
  std::optional<std::uint64_t> interrupts;
  std::optional<std::uint64_t> context_switches;
  std::optional<std::uint64_t> wakeups_other_core;
  std::optional<std::uint64_t> system_calls;
};

/// One repeat of one cell.
struct Measurement {
  double seconds = 0;
  std::uint64_t operations = 0;
  std::uint64_t bytes = 0;
  double host_cpu_s = 0;
  double vcpu_cpu_s = 0;
  double io_cpu_s = 0;
  std::optional<double> io_system_s;  ///< of io_cpu_s, in the kernel
  /// Its threads were ready while their CPU ran others; nothing if not known.
  std::optional<double> run_delay_s;
  /// All CPUs of this host were kept from it by its own host.
  std::optional<double> steal_s;
  bool disturbed = false;  ///< by more than a comparison bears, and so at each try
  Latency latency;
  Counters counters;

  /// Decimal megabytes (10^6 bytes).
  [[nodiscard]] double mb_per_s() const noexcept;
  [[nodiscard]] double iops() const noexcept;
  [[nodiscard]] double bytes_per_host_cpu_s() const noexcept;
};

/// A cell and the median (by mb_per_s) of its repeats. Every one was verified: others give no
/// figure. `M` is a Measurement.
template <class Cell, class M>
struct RunOf {
  Cell cell;
  unsigned repeats = 0;
  M median;
  double least_mb_per_s = 0;
  double most_mb_per_s = 0;
  double bytes_per_host_cpu_s = 0;  ///< the median of all repeats, by itself
  double least_bytes_per_host_cpu_s = 0;
  double most_bytes_per_host_cpu_s = 0;
  std::vector<M> all = {};  ///< in the order in which they were measured

  [[nodiscard]] std::size_t disturbed() const noexcept {
    return static_cast<std::size_t>(std::ranges::count_if(all, &M::disturbed));
  }
};

/// The repeat with the median mb_per_s (the lower one of two in the middle), and the spread.
/// `measurements` is not empty.
template <class Cell, class M>
RunOf<Cell, M> summarise(const Cell& cell, std::vector<M> measurements) {
  std::vector<M> all = measurements;
  std::ranges::sort(measurements, {}, [](const M& m) { return m.mb_per_s(); });
  std::vector<double> efficiency;
  efficiency.reserve(measurements.size());
  for (const M& m : measurements) efficiency.push_back(m.bytes_per_host_cpu_s());
  std::ranges::sort(efficiency);
  return {cell,
          static_cast<unsigned>(measurements.size()),
          measurements[(measurements.size() - 1) / 2],
          measurements.front().mb_per_s(),
          measurements.back().mb_per_s(),
          efficiency[(efficiency.size() - 1) / 2],
          efficiency.front(),
          efficiency.back(),
          std::move(all)};
}

struct NotRun {
  std::string cell;
  std::string reason;
  bool failed = false;  ///< it was tried
};

/// What every report has besides its runs.
struct ReportBase {
  nlohmann::ordered_json host;
  nlohmann::ordered_json floors;
  std::vector<NotRun> not_run;
  std::string disturbed;  ///< disturbed_text() of its runs

  /// Whether a cell was tried without a result; cells that this host cannot run do not count.
  [[nodiscard]] bool has_failures() const;
};

/// The cells that were not run, one line each, with the reason; empty if all were.
std::string not_run_text(const ReportBase& report);
/// The cells with repeats that stayed disturbed, one line each; empty if there are none.
template <class Run>
std::string disturbed_text(const std::vector<Run>& runs) {
  std::string text;
  for (const Run& run : runs) {
    if (run.disturbed() == 0) continue;
    text += "  " + describe(run.cell) + ": " + std::to_string(run.disturbed()) + " of " +
            std::to_string(run.repeats) + "\n";
  }
  return text.empty() ? text
                      : "Disturbed repeats (other load on this host, or its host's):\n" + text;
}

/// Appends the fields of a measurement, from "repeat" to "counters", with the medians and the
/// spread of all repeats. A single repeat has no spread.
void add_measurement(nlohmann::ordered_json& json, const Measurement& median, unsigned repeats,
                     double least_mb_per_s, double most_mb_per_s, double bytes_per_host_cpu_s);
/// Appends what one repeat had: "all_repeats" (not in CSV).
void add_repeat(nlohmann::ordered_json& json, const Measurement& repeat);

template <class Run>
void add_run(nlohmann::ordered_json& json, const Run& run) {
  add_measurement(json, run.median, run.repeats, run.least_mb_per_s, run.most_mb_per_s,
                  run.bytes_per_host_cpu_s);
  for (const auto& repeat : run.all) add_repeat(json, repeat);
}
/// The report with its runs, which are JSON already.
nlohmann::ordered_json report_to_json(const ReportBase& report,
                                      std::vector<nlohmann::ordered_json> runs);
/// One line a run; nested names joined with dots.
std::string runs_to_csv(const std::vector<nlohmann::ordered_json>& runs);

}  // namespace bellhop::bench
