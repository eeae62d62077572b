#include "bench/study/study_analysis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

namespace bellhop::bench {

namespace {

using Verdict = Ratio::Verdict;

bool has_figure(const Ratio& ratio) {
  return ratio.verdict != Verdict::kNone && ratio.verdict != Verdict::kRefused && ratio.value > 0;
}

/// 1: ahead, -1: behind, 0: within noise.
int sign(const Ratio& ratio) {
  switch (ratio.verdict) {
    case Verdict::kAbove:
      return 1;
    case Verdict::kBelow:
      return -1;
    case Verdict::kSingle:
      return ratio.value > 1 ? 1 : ratio.value < 1 ? -1 : 0;
    case Verdict::kNone:
    case Verdict::kRefused:
    case Verdict::kWithinNoise:
      break;
  }
  return 0;
}

Ratio ratio_of(const StudyReport& report, const StudyRun* above, const StudyRun* below,
               Optimize objective) {
  if (above == nullptr || below == nullptr) return {};
  return report.comparing.ratio(figures(*above, objective), figures(*below, objective));
}

double geometric_mean(const std::vector<double>& ratios) {
  double sum = 0;
  for (const double ratio : ratios) sum += std::log(ratio);
  return std::exp(sum / static_cast<double>(ratios.size()));
}

std::optional<Whole> sum_up(std::optional<Way> beside, const std::vector<Ratio>& all) {
  std::vector<double> ratios;
  Whole whole;
  whole.beside = beside;
  for (const Ratio& ratio : all) {
    if (!has_figure(ratio)) continue;
    ratios.push_back(ratio.value);
    whole.ahead += sign(ratio) > 0 ? 1U : 0U;
    whole.behind += sign(ratio) < 0 ? 1U : 0U;
  }
  if (ratios.empty()) return std::nullopt;
  whole.cells = ratios.size();
  whole.mean = geometric_mean(ratios);
  whole.least = std::ranges::min(ratios);
  whole.most = std::ranges::max(ratios);
  return whole;
}

/// "other-core, 1 vCPU, tmpfs", without what all spots share.
class Places {
 public:
  explicit Places(const std::vector<Spot>& spots) {
    for (const Spot& spot : spots) {
      workloads_ |= spot.workload != spots.front().workload;
      media_ |= spot.medium != spots.front().medium;
      vcpus_ |= spot.vcpus != spots.front().vcpus;
      threads_ |= spot.threads != spots.front().threads;
    }
  }
  [[nodiscard]] std::string along_threads(const Spot& spot) const {
    return head(spot) + tail(spot) + (media_ ? " " + spot.medium : "");
  }
  [[nodiscard]] std::string along_latency(const Spot& spot) const {
    return head(spot) + (threads_ ? fmt::format("x{} ", spot.threads) : "") + tail(spot);
  }

 private:
  [[nodiscard]] std::string head(const Spot& spot) const {
    return workloads_ ? fmt::format("{} ", to_string(spot.workload)) : "";
  }
  [[nodiscard]] std::string tail(const Spot& spot) const {
    if (!vcpus_) return to_string(spot.placement);
    return fmt::format("{} {} vCPU{}", to_string(spot.placement), spot.vcpus,
                       spot.vcpus == 1 ? "" : "s");
  }

  bool workloads_ = false;
  bool media_ = false;
  bool vcpus_ = false;
  bool threads_ = false;
};

/// Spots that differ in one dimension only, in its order.
using Lines = std::vector<std::vector<Spot>>;

template <class Key, class KeyOf, class Order>
Lines lines_of(const std::vector<Spot>& spots, const KeyOf& key_of, const Order& order) {
  Lines lines;
  std::vector<Key> keys;
  for (const Spot& spot : spots) {
    const std::optional<Key> key = key_of(spot);
    if (!key) continue;
    auto at = std::ranges::find(keys, *key) - keys.begin();
    if (at == std::ssize(keys)) {
      keys.push_back(*key);
      lines.emplace_back();
    }
    lines[static_cast<std::size_t>(at)].push_back(spot);
  }
  for (auto& line : lines) std::ranges::stable_sort(line, {}, order);
  return lines;
}

/// Adds what is said of `lines`; those of which the same is said stand together.
template <class NameOf, class PlaceOf>
void add_crossovers(const StudyReport& report, const Lines& lines, const char* along,
                    const NameOf& name_of, const PlaceOf& place_of, std::vector<Crossover>& out) {
  constexpr std::array<std::pair<std::size_t, std::size_t>, 3> kPairs = {{{1, 0}, {2, 1}, {2, 0}}};
  for (const Optimize objective : objectives_of(report)) {
    for (const auto& [one, other] : kPairs) {
      for (const auto& line : lines) {
        std::vector<Step> steps;
        steps.reserve(line.size());
        for (const Spot& spot : line) {
          steps.push_back(
              {name_of(spot), ratio_of(report, report.find(spot, kFixedWays.at(one)),
                                       report.find(spot, kFixedWays.at(other)), objective)});
        }
        std::string words = describe_crossover(to_string(kFixedWays.at(one)),
                                               to_string(kFixedWays.at(other)), steps);
        if (words.empty()) continue;
        auto same = std::ranges::find_if(out, [&](const Crossover& c) {
          return c.objective == objective && c.along == along && c.line == words;
        });
        if (same == out.end()) {
          same = out.insert(out.end(), {objective, along, std::move(words), {}});
        }
        same->where.push_back(place_of(line.front()));
      }
    }
  }
}

}  // namespace

std::vector<Optimize> objectives_of(const StudyReport& report) {
  std::vector<Optimize> objectives = {Optimize::kThroughput, Optimize::kEfficiency};
  static constexpr Way kByLatency{NotifyMode::kAdaptive, Optimize::kLatency};
  if (std::ranges::any_of(report.runs,
                          [](const StudyRun& run) { return run.cell.way == kByLatency; })) {
    objectives.push_back(Optimize::kLatency);
  }
  return objectives;
}

Sample figures(const StudyRun& run, Optimize objective) {
  switch (objective) {
    case Optimize::kThroughput:
      break;
    case Optimize::kEfficiency:
      return run.efficiency();
    case Optimize::kLatency:
      return run.quickness();
  }
  return run.throughput();
}

std::vector<const StudyRun*> ranked_fixed_ways(const StudyReport& report, const Spot& spot,
                                               Optimize objective) {
  std::vector<const StudyRun*> ranked;
  for (const Way& way : kFixedWays) {
    if (const StudyRun* const run = report.find(spot, way)) ranked.push_back(run);
  }
  std::ranges::stable_sort(ranked, std::ranges::greater(), [objective](const StudyRun* run) {
    return figures(*run, objective).median();
  });
  return ranked;
}

AgainstBest::Goal AgainstBest::goal() const {
  if (!has_figure(ratio)) return Goal::kUnknown;
  if (ratio.value >= kPartOfBest) return Goal::kReached;
  return ratio.interval && ratio.interval->high < kPartOfBest ? Goal::kMissed : Goal::kMayMiss;
}

std::string to_string(AgainstBest::Goal goal) {
  switch (goal) {
    case AgainstBest::Goal::kUnknown:
      return "disturbed";
    case AgainstBest::Goal::kReached:
      return "reached";
    case AgainstBest::Goal::kMayMiss:
      return "may miss";
    case AgainstBest::Goal::kMissed:
      return "missed";
  }
  return "";
}

std::vector<AgainstBest> adaptive_against_best(const StudyReport& report, Optimize objective) {
  std::vector<AgainstBest> all;
  for (const Spot& spot : report.spots()) {
    const StudyRun* const adaptive = report.find(spot, {NotifyMode::kAdaptive, objective});
    const auto ranked = ranked_fixed_ways(report, spot, objective);
    if (adaptive == nullptr || ranked.empty()) continue;
    const StudyRun& best = *ranked.front();
    all.push_back({spot, best.cell.way, figures(best, objective).median(),
                   figures(*adaptive, objective).median(),
                   ratio_of(report, adaptive, &best, objective)});
  }
  return all;
}

std::vector<Whole> over_the_whole(const StudyReport& report, Optimize objective) {
  std::vector<Whole> all;
  const auto add = [&all](std::optional<Way> beside, const std::vector<Ratio>& ratios) {
    if (const auto whole = sum_up(beside, ratios)) all.push_back(*whole);
  };
  for (const Way& way : kFixedWays) {
    std::vector<Ratio> ratios;
    for (const Spot& spot : report.spots()) {
      ratios.push_back(ratio_of(report, report.find(spot, {NotifyMode::kAdaptive, objective}),
                                report.find(spot, way), objective));
    }
    add(way, ratios);
  }
  std::vector<Ratio> to_best;
  for (const AgainstBest& one : adaptive_against_best(report, objective)) {
    to_best.push_back(one.ratio);
  }
  add(std::nullopt, to_best);
  return all;
}

std::string describe_crossover(const std::string& one, const std::string& other,
                               const std::vector<Step>& steps) {
  std::vector<std::string> names;
  std::vector<int> signs;
  for (const Step& step : steps) {
    if (!has_figure(step.ratio)) continue;
    names.push_back(step.name);
    signs.push_back(sign(step.ratio));
  }
  if (signs.size() < 2) return "";
  const auto beats = [&](int side) {
    return side > 0 ? one + " beats " + other : other + " beats " + one;
  };
  // The last steps that are alike, and the first ones.
  const auto last = std::ranges::find_if(signs.rbegin(), signs.rend(),
                                         [&](int side) { return side != signs.back(); });
  const auto from = static_cast<std::size_t>(signs.rend() - last);
  if (from == 0) {
    const std::string span = fmt::format(" from {} to {}", names.front(), names.back());
    return signs.back() == 0
               ? fmt::format("{} and {} are within noise of each other{}", one, other, span)
               : beats(signs.back()) + span;
  }
  if (signs.back() != 0) {
    const bool reversed =
        std::ranges::all_of(signs.begin(), signs.begin() + static_cast<std::ptrdiff_t>(from),
                            [&](int side) { return side == -signs.back(); });
    const bool even =
        std::ranges::all_of(signs.begin(), signs.begin() + static_cast<std::ptrdiff_t>(from),
                            [](int side) { return side == 0; });
    const char* const before = reversed ? "below that it is the reverse"
                               : even   ? "below that they are within noise"
                                        : "below that it varies";
    return fmt::format("from {} on {}; {}", names[from], beats(signs.back()), before);
  }
  const auto first = std::ranges::find_if(signs, [&](int side) { return side != signs.front(); });
  const auto until = static_cast<std::size_t>(first - signs.begin());
  if (signs.front() != 0 && until == from) {
    return fmt::format("up to {} {}; above that they are within noise", names[until - 1],
                       beats(signs.front()));
  }
  return fmt::format("between {} and {} there is no line: it varies", one, other);
}

std::vector<Crossover> find_crossovers(const StudyReport& report) {
  const std::vector<Spot> spots = report.spots();
  const Places places(spots);
  const auto latency_of = [&report](const Spot& spot) {
    const StudyMedium* const medium = report.medium(spot);
    return medium != nullptr && medium->null ? medium->null->latency : std::chrono::nanoseconds(0);
  };
  using ThreadsKey = std::tuple<Workload, unsigned, Placement, std::string>;
  using LatencyKey = std::tuple<Workload, unsigned, unsigned, Placement>;
  const Lines along_threads = lines_of<ThreadsKey>(
      spots,
      [](const Spot& s) {
        return std::optional<ThreadsKey>({s.workload, s.vcpus, s.placement, s.medium});
      },
      [](const Spot& s) { return s.threads; });
  const Lines along_latency = lines_of<LatencyKey>(
      spots,
      [&report](const Spot& s) -> std::optional<LatencyKey> {
        const StudyMedium* const medium = report.medium(s);
        if (medium == nullptr || !medium->null) return std::nullopt;
        return LatencyKey{s.workload, s.threads, s.vcpus, s.placement};
      },
      latency_of);
  std::vector<Crossover> all;
  add_crossovers(
      report, along_threads, "threads",
      [](const Spot& s) {
        return fmt::format("{} thread{}", s.threads, s.threads == 1 ? "" : "s");
      },
      [&places](const Spot& s) { return places.along_threads(s); }, all);
  add_crossovers(
      report, along_latency, "latency",
      [&latency_of](const Spot& s) { return describe_latency(latency_of(s)); },
      [&places](const Spot& s) { return places.along_latency(s); }, all);
  return all;
}

std::vector<BesideSync> ioeventfd_beside_sync(const StudyReport& report) {
  std::vector<std::pair<Placement, std::vector<double>>> by_placement;
  for (const Spot& spot : report.spots()) {
    const Ratio ratio = ratio_of(report, report.find(spot, kFixedWays[1]),
                                 report.find(spot, kFixedWays[0]), Optimize::kThroughput);
    if (!has_figure(ratio)) continue;
    auto found = std::ranges::find(by_placement, spot.placement,
                                   &std::pair<Placement, std::vector<double>>::first);
    if (found == by_placement.end()) {
      found = by_placement.insert(by_placement.end(), {spot.placement, {}});
    }
    found->second.push_back(ratio.value);
  }
  std::vector<BesideSync> all;
  all.reserve(by_placement.size());
  for (const auto& [placement, ratios] : by_placement) {
    all.push_back({placement, geometric_mean(ratios)});
  }
  return all;
}

}  // namespace bellhop::bench
