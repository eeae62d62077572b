#include "bench/study/study_page.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/report/cell_text.h"
#include "bench/study/study_analysis.h"
#include "bench/study/study_findings.h"

namespace bellhop::bench {

namespace {

constexpr std::size_t kNoteColumns = 80;

constexpr const char* kIntroduction =
    R"(<p>Each figure is the median of repeats in which the ways of one cell took turns; in brackets is
where a ratio lies with 95 %, by a bootstrap over the rounds. MB are 10<sup>6</sup> bytes. Host CPU
seconds are all CPU time of the VMM's process during the measured seconds, guest included. What is
read from an image is checked by the guest; a null medium keeps nothing, so that there is nothing to
check. The best fixed way is known only afterwards, and noise helps it: the highest of three medians
is a little too high.</p>
)";

const char* unit_of(Optimize objective) {
  switch (objective) {
    case Optimize::kThroughput:
      return "MB/s";
    case Optimize::kEfficiency:
      return "MB per host CPU second";
    case Optimize::kLatency:
      return "median latency, µs";
  }
  return "";
}

/// In the unit of its objective.
std::string figure(double value, Optimize objective) {
  double shown = value;
  if (objective == Optimize::kEfficiency) shown = value * 1e-6;
  if (objective == Optimize::kLatency) shown = value > 0 ? 1e6 / value : 0;
  return fmt::format("{:.{}f}", shown, shown < 99.95 ? 1 : 0);
}

Table::Cell goal_cell(AgainstBest::Goal goal) {
  const Tone tone = goal == AgainstBest::Goal::kReached   ? Tone::kGood
                    : goal == AgainstBest::Goal::kUnknown ? Tone::kFaint
                                                          : Tone::kBad;
  return {to_string(goal), tone};
}

Table whole_table(const StudyReport& report) {
  Table table;
  table.caption = "Adaptive over the whole: geometric means of its ratios in all cells";
  table.columns = {
      {"", "objective", true}, {"", "beside", true}, {"", "cells"},       {"", "mean"},
      {"", "least"},           {"", "most"},         {"", "cells ahead"}, {"", "within noise"},
      {"", "behind"}};
  table.keys = 2;
  table.empty = "Adaptive was not measured beside a fixed way.";
  for (const Optimize objective : objectives_of(report)) {
    for (const Whole& one : over_the_whole(report, objective)) {
      table.rows.push_back({bellhop::to_string(objective),
                            one.beside ? to_string(*one.beside) : "the best of each cell",
                            fmt::format("{}", one.cells), fmt::format("{:.2f}", one.mean),
                            fmt::format("{:.2f}", one.least), fmt::format("{:.2f}", one.most),
                            fmt::format("{}", one.ahead),
                            fmt::format("{}", one.cells - one.ahead - one.behind),
                            fmt::format("{}", one.behind)});
    }
  }
  return table;
}

Table misses_table(const StudyReport& report) {
  Table table;
  table.caption = "Where adaptive has less than 0.95 of the best fixed way";
  table.columns = {{"", "cell", true}, {"", "objective", true}, {"", "best", true}, {"", "its"},
                   {"", "adaptive's"}, {"", "ratio (95 %)"},    {"", "goal"}};
  table.keys = 1;
  bool any = false;
  for (const Optimize objective : objectives_of(report)) {
    for (const AgainstBest& one : adaptive_against_best(report, objective)) {
      any = true;
      if (one.goal() == AgainstBest::Goal::kReached) continue;
      table.rows.push_back({describe(one.spot), bellhop::to_string(objective), to_string(one.best),
                            figure(one.best_value, objective),
                            figure(one.adaptive_value, objective), ratio_cell(one.ratio),
                            goal_cell(one.goal())});
    }
  }
  table.empty = any ? "Nowhere." : "Adaptive was not measured beside a fixed way.";
  return table;
}

/// All cells of one medium, by each objective.
Table medium_table(const StudyReport& report, const StudyMedium& medium) {
  const StudySetting& setting = report.setting;
  Table table;
  table.caption = fmt::format(
      "Every cell on {}: virtio-blk over {}, blocks of {}{}; {}", medium.name,
      to_string(setting.transport), setting.block_bytes,
      medium.null
          ? ""
          : fmt::format(", cache={}, aio={}", to_string(setting.cache), to_string(setting.aio)),
      describe(setting.rounds, setting.seconds));
  table.columns = {{"", "Test", true}, {"", "Placement", true}, {"", "vCPUs"}, {"", "Threads"}};
  table.keys = 4;
  const std::vector<Optimize> objectives = objectives_of(report);
  for (const Optimize objective : objectives_of(report)) {
    for (const Way& way : kFixedWays) table.columns.push_back({unit_of(objective), to_string(way)});
    table.columns.push_back({unit_of(objective), "adaptive"});
    table.columns.push_back({unit_of(objective), "to the best (95 %)"});
  }
  std::vector<std::vector<AgainstBest>> against;
  against.reserve(objectives.size());
  for (const Optimize objective : objectives) {
    against.push_back(adaptive_against_best(report, objective));
  }
  for (const Spot& spot : report.spots()) {
    if (spot.medium != medium.name) continue;
    std::vector<Table::Cell> cells = {to_string(spot.workload), to_string(spot.placement),
                                      fmt::format("{}", spot.vcpus),
                                      fmt::format("{}", spot.threads)};
    for (std::size_t i = 0; i < objectives.size(); ++i) {
      const Optimize objective = objectives.at(i);
      const auto median_of = [&](const Way& way) -> Table::Cell {
        const StudyRun* const run = report.find(spot, way);
        if (run == nullptr) return missing(report.has_failed(describe(StudyCell{spot, way})));
        return figure(figures(*run, objective).median(), objective);
      };
      for (const Way& way : kFixedWays) cells.push_back(median_of(way));
      cells.push_back(median_of({NotifyMode::kAdaptive, objective}));
      const auto one = std::ranges::find(against.at(i), spot, &AgainstBest::spot);
      cells.push_back(ratio_cell(one == against.at(i).end() ? Ratio{} : one->ratio));
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

/// One for the cells that differ in their threads only.
std::vector<Scatter> make_scatters(const StudyReport& report) {
  std::vector<Scatter> scatters;
  std::vector<Spot> groups;
  for (const StudyRun& run : report.runs) {
    Spot group = run.cell.spot;
    group.threads = 0;
    auto at = std::ranges::find(groups, group) - groups.begin();
    if (at == std::ssize(groups)) {
      groups.push_back(group);
      scatters.push_back({fmt::format("{}, {}, {} vCPU{}, on {}", title(group.workload),
                                      to_string(group.placement), group.vcpus,
                                      group.vcpus == 1 ? "" : "s", group.medium),
                          "MB/s",
                          "MB per host CPU second",
                          {},
                          {}});
      for (const Way& way : kFixedWays) scatters.back().series.push_back(to_string(way));
      for (const Optimize objective : objectives_of(report)) {
        scatters.back().series.push_back(to_string(Way{NotifyMode::kAdaptive, objective}));
      }
    }
    Scatter& scatter = scatters[static_cast<std::size_t>(at)];
    const auto series = std::ranges::find(scatter.series, to_string(run.cell.way));
    scatter.points.push_back({static_cast<std::size_t>(series - scatter.series.begin()),
                              fmt::format("x{}", run.cell.spot.threads), run.throughput().median(),
                              run.efficiency().median() * 1e-6});
  }
  return scatters;
}

}  // namespace

std::vector<Table> make_tables(const StudyReport& report) {
  std::vector<Table> tables = {whole_table(report), misses_table(report)};
  for (const StudyMedium& medium : report.setting.media) {
    Table table = medium_table(report, medium);
    if (!table.rows.empty()) tables.push_back(std::move(table));
  }
  return tables;
}

Page make_page(const StudyReport& report) {
  Page page;
  page.title = "Bellhop: which way to notify";
  page.heading = "Which way to notify is best, and where";
  page.findings = find_in(report);
  page.introduction = kIntroduction;
  page.tables = make_tables(report);
  page.scatters = make_scatters(report);
  page.notes = notes_about(report);
  if (std::string crossovers = crossovers_text(report, kNoteColumns); !crossovers.empty()) {
    page.notes.insert(page.notes.begin(), std::move(crossovers));
  }
  return page;
}

}  // namespace bellhop::bench
