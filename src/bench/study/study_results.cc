#include "bench/study/study_results.h"

#include <algorithm>

#include "bench/harness/measurement_json.h"
#include "bench/study/study_analysis.h"
#include "bench/study/study_findings.h"

namespace bellhop::bench {

namespace {

using Json = nlohmann::ordered_json;

Json run_to_json(const StudyReport& report, const StudyRun& run) {
  Json json = cell_fields(blk_cell(run.cell), blk_setting(report.setting, run.cell));
  const StudyMedium* const medium = report.medium(run.cell.spot);
  const bool null = medium != nullptr && medium->null;
  json["medium_latency_us"] =
      null ? Json(std::chrono::duration<double, std::micro>(medium->null->latency).count())
           : Json(nullptr);
  add_run(json, run);
  json["verified"] = !null;
  return json;
}

std::vector<Json> runs_of(const StudyReport& report) {
  std::vector<Json> runs;
  runs.reserve(report.runs.size());
  for (const StudyRun& run : report.runs) runs.push_back(run_to_json(report, run));
  return runs;
}

Json study_to_json(const StudyReport& report) {
  Json adaptive = Json::array();
  Json whole = Json::array();
  for (const Optimize objective : objectives_of(report)) {
    // Microseconds for latency, of which the analysis has the inverse.
    const auto shown = [objective](double value) {
      return objective == Optimize::kLatency && value > 0 ? 1e6 / value : value;
    };
    for (const AgainstBest& one : adaptive_against_best(report, objective)) {
      adaptive.push_back({{"cell", describe(one.spot)},
                          {"objective", bellhop::to_string(objective)},
                          {"best", to_string(one.best)},
                          {"best_value", shown(one.best_value)},
                          {"adaptive_value", shown(one.adaptive_value)},
                          {"to_best", to_json(one.ratio)},
                          {"goal", to_string(one.goal())}});
    }
    for (const Whole& one : over_the_whole(report, objective)) {
      whole.push_back({{"objective", bellhop::to_string(objective)},
                       {"beside", one.beside ? Json(to_string(*one.beside)) : Json("best")},
                       {"cells", one.cells},
                       {"geometric_mean", one.mean},
                       {"least", one.least},
                       {"most", one.most},
                       {"ahead", one.ahead},
                       {"behind", one.behind}});
    }
  }
  Json crossovers = Json::array();
  for (const Crossover& one : find_crossovers(report)) {
    crossovers.push_back({{"objective", bellhop::to_string(one.objective)},
                          {"along", one.along},
                          {"line", one.line},
                          {"where", one.where}});
  }
  return {{"adaptive_against_best", std::move(adaptive)},
          {"whole", std::move(whole)},
          {"crossovers", std::move(crossovers)}};
}

}  // namespace

const StudyRun* StudyReport::find(const Spot& spot, const Way& way) const {
  const auto found = std::ranges::find(runs, StudyCell{spot, way}, &StudyRun::cell);
  return found == runs.end() ? nullptr : &*found;
}

std::vector<Spot> StudyReport::spots() const {
  std::vector<Spot> spots;
  for (const StudyRun& run : runs) {
    // Those of one spot stand together.
    if (spots.empty() || spots.back() != run.cell.spot) spots.push_back(run.cell.spot);
  }
  return spots;
}

const StudyMedium* StudyReport::medium(const Spot& spot) const {
  const auto found = std::ranges::find(setting.media, spot.medium, &StudyMedium::name);
  return found == setting.media.end() ? nullptr : &*found;
}

BlkCell blk_cell(const StudyCell& cell) {
  return {cell.spot.workload, cell.spot.threads, cell.spot.vcpus,   cell.spot.placement,
          StudyCell::vmm,     cell.way.notify,   RingLayout::kSplit};
}

BlkSetting blk_setting(const StudySetting& setting, const StudyCell& cell) {
  BlkSetting own = static_cast<const BlkSetting&>(setting);
  own.optimize = cell.way.optimize;
  own.medium = cell.spot.medium;
  const auto found = std::ranges::find(setting.media, cell.spot.medium, &StudyMedium::name);
  if (found != setting.media.end()) own.null = found->null;
  return own;
}

Json to_json(const StudyReport& report) {
  Json json = report_to_json(report, runs_of(report), compare_runs(report));
  json["findings"] = find_in(report);
  json["study"] = study_to_json(report);
  return json;
}

std::string to_csv(const StudyReport& report) { return runs_to_csv(runs_of(report)); }

}  // namespace bellhop::bench
