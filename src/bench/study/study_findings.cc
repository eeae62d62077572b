#include "bench/study/study_findings.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text_columns.h"
#include "bench/report/findings.h"
#include "bench/report/table.h"
#include "bench/study/study_analysis.h"

namespace bellhop::bench {

namespace {

constexpr std::size_t kMaxFindings = 5;

const char* in_words(Optimize objective) {
  switch (objective) {
    case Optimize::kThroughput:
      return "throughput";
    case Optimize::kEfficiency:
      return "bytes for a host CPU second";
    case Optimize::kLatency:
      return "quickness (one by the median latency)";
  }
  return "";
}

std::string cells(std::size_t count) {
  return fmt::format("{} cell{}", count, count == 1 ? "" : "s");
}

/// "1.12", "1.12 to 1.50".
std::string span_of(const std::vector<double>& ratios) {
  const auto [least, most] = std::ranges::minmax(ratios);
  const std::string low = fmt::format("{:.2f}", least);
  const std::string high = fmt::format("{:.2f}", most);
  return low == high ? low : low + " to " + high;
}

/// "a", "a and b", "a, b and c".
std::string listed(const std::vector<std::string>& words) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) {
    text += (i == 0 ? "" : i + 1 == words.size() ? " and " : ", ") + words[i];
  }
  return text;
}

bool leads(const Ratio& ratio) {
  return ratio.verdict == Ratio::Verdict::kAbove ||
         (ratio.verdict == Ratio::Verdict::kSingle && ratio.value > 1);
}

/// Which of the fixed ways wins where.
std::string best_fixed_way(const StudyReport& report, Optimize objective) {
  std::array<std::vector<double>, kFixedWays.size()> wins;
  std::size_t all = 0;
  std::size_t open = 0;
  std::size_t refused = 0;
  for (const Spot& spot : report.spots()) {
    const auto ranked = ranked_fixed_ways(report, spot, objective);
    if (ranked.size() < 2) continue;
    ++all;
    const Ratio ratio =
        report.comparing.ratio(figures(*ranked[0], objective), figures(*ranked[1], objective));
    if (!leads(ratio)) {
      ++(ratio.verdict == Ratio::Verdict::kRefused ? refused : open);
      continue;
    }
    const auto way = std::ranges::find(kFixedWays, ranked[0]->cell.way) - kFixedWays.begin();
    wins.at(static_cast<std::size_t>(way)).push_back(ratio.value);
  }
  if (all == 0) return "";
  std::vector<std::size_t> order = {0, 1, 2};
  std::ranges::stable_sort(order, std::ranges::greater(),
                           [&wins](std::size_t way) { return wins.at(way).size(); });
  std::vector<std::string> parts;
  for (const std::size_t way : order) {
    if (wins.at(way).empty()) continue;
    parts.push_back(fmt::format("{} in {} ({} times the next)", to_string(kFixedWays.at(way)),
                                wins.at(way).size(), span_of(wins.at(way))));
  }
  std::string text = fmt::format("By {}, of {} ", in_words(objective), cells(all));
  text += parts.empty() ? "no fixed way is best beyond the noise in any"
                        : "the best fixed way is " + listed(parts);
  if (!parts.empty() && open > 0)
    text += fmt::format("; in {} the first two are within noise", open);
  if (refused > 0) text += fmt::format("; {} disturbed", refused);
  return text + ".";
}

/// How adaptive does beside the best fixed way, and beside each over the whole.
std::string adaptive_way(const StudyReport& report, Optimize objective) {
  std::size_t known = 0;
  std::size_t reached = 0;
  std::size_t missed = 0;
  for (const AgainstBest& one : adaptive_against_best(report, objective)) {
    const auto goal = one.goal();
    known += goal != AgainstBest::Goal::kUnknown ? 1U : 0U;
    reached += goal == AgainstBest::Goal::kReached ? 1U : 0U;
    missed += goal == AgainstBest::Goal::kMissed ? 1U : 0U;
  }
  if (known == 0) return "";
  std::string text =
      fmt::format("{} is within 5 % of the best fixed way in {} of {}",
                  to_string(Way{NotifyMode::kAdaptive, objective}), reached, cells(known));
  text[0] = 'A';
  if (reached < known) {
    text += fmt::format(" ({} surely below, {} perhaps)", missed, known - reached - missed);
  }
  std::vector<std::string> beside;
  for (const Whole& whole : over_the_whole(report, objective)) {
    if (whole.beside) {
      beside.push_back(fmt::format("{:.2f} times {}'s", whole.mean, to_string(*whole.beside)));
    } else {
      text += fmt::format(" and has {:.2f} of its {} in the mean", whole.mean, in_words(objective));
    }
  }
  return text + fmt::format("; over the whole it has {} (geometric means).", listed(beside));
}

std::string placements(const StudyReport& report) {
  std::vector<std::string> parts;
  for (const BesideSync& one : ioeventfd_beside_sync(report)) {
    parts.push_back(fmt::format("{:.2f} times {}at {}", one.mean,
                                parts.empty() ? "sync's throughput " : "",
                                to_string(one.placement)));
  }
  if (parts.empty()) return "";
  return fmt::format("Ioeventfd has {} (geometric means).", listed(parts));
}

}  // namespace

std::vector<std::string> find_in(const StudyReport& report) {
  std::vector<std::string> findings;
  if (report.runs.empty()) return findings;
  findings = begin_findings(report.setting.rounds);
  const std::vector<Optimize> objectives = objectives_of(report);
  for (const Optimize objective : objectives) {
    findings.push_back(best_fixed_way(report, objective));
  }
  for (const Optimize objective : objectives) findings.push_back(adaptive_way(report, objective));
  findings.push_back(placements(report));
  std::erase(findings, "");
  // Two more for one more objective.
  const std::size_t most = kMaxFindings + 2 * (objectives.size() - 2);
  if (findings.size() > most) findings.resize(most);
  return findings;
}

std::string crossovers_text(const StudyReport& report, std::size_t columns) {
  std::string text;
  std::string heading;
  for (const Crossover& one : find_crossovers(report)) {
    std::string own = fmt::format("Along {}, by {}:\n", one.along, in_words(one.objective));
    if (own != heading) text += (text.empty() ? "" : "\n") + own;
    heading = std::move(own);
    std::string places;
    for (const std::string& place : one.where) places += (places.empty() ? "" : ", ") + place;
    text += "  " + wrap(fmt::format("{} ({})", one.line, places), columns - 2, 4) + "\n";
  }
  return text;
}

}  // namespace bellhop::bench
