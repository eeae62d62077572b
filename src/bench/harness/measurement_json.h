#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "bench/harness/comparison.h"
#include "bench/harness/measurement.h"
#include "bench/harness/report_base.h"

// The files of a report. The schema that all measurements share is in docs/measuring.md.
namespace bellhop::bench {

inline constexpr int kSchema = 2;

/// All that one repeat measured.
nlohmann::ordered_json to_json(const Measurement& repeat);
/// The reverse. Errors: a field is missing, or not what it should be.
Status from_json(const nlohmann::ordered_json& json, Measurement& repeat);

/// "ratio", "interval" and "verdict"; null where there is none.
nlohmann::ordered_json to_json(const Ratio& ratio);

/// Appends what a run has besides its cell: the median repeat, with the medians of throughput and
/// efficiency and the spread of throughput over all repeats (a single one has none), whether it has
/// two speeds, and all repeats ("all_repeats", "rejected_repeats": not in CSV).
template <class Run>
void add_run(nlohmann::ordered_json& json, const Run& run);

/// The report with its runs, which are JSON already.
nlohmann::ordered_json report_to_json(const ReportBase& report,
                                      std::vector<nlohmann::ordered_json> runs,
                                      const std::vector<Comparison>& comparisons);
/// One line a run; nested names joined with dots.
std::string runs_to_csv(const std::vector<nlohmann::ordered_json>& runs);

// ---- details

void add_figures(nlohmann::ordered_json& json, const Measurement& median, const Sample& throughput,
                 const Sample& efficiency);

template <class Run>
void add_run(nlohmann::ordered_json& json, const Run& run) {
  json["cell"] = describe(run.cell);
  add_figures(json, run.median, run.throughput(), run.efficiency());
  json["all_repeats"] = nlohmann::ordered_json::array();
  json["rejected_repeats"] = nlohmann::ordered_json::array();
  for (const auto& repeat : run.all) json["all_repeats"].push_back(to_json(repeat));
  for (const auto& repeat : run.rejected) json["rejected_repeats"].push_back(to_json(repeat));
}

}  // namespace bellhop::bench
