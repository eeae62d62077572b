#include "bench/report/findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/text_columns.h"

namespace bellhop::bench {

namespace {

/// So many cells are named where Bellhop is behind; the tables have the others.
constexpr std::size_t kMaxNamed = 6;

using Verdict = Ratio::Verdict;

bool is_ahead(const Ratio& ratio) {
  return ratio.verdict == Verdict::kAbove || (ratio.verdict == Verdict::kSingle && ratio.value > 1);
}
bool is_behind(const Ratio& ratio) {
  return ratio.verdict == Verdict::kBelow || (ratio.verdict == Verdict::kSingle && ratio.value < 1);
}

/// "1.50", or "1.05 to 1.50".
std::string range_of(const std::vector<double>& ratios) {
  const auto [least, most] = std::ranges::minmax(ratios);
  const std::string low = fmt::format("{:.2f}", least);
  const std::string high = fmt::format("{:.2f}", most);
  return low == high ? low : low + " to " + high;
}

std::string joined(const std::vector<std::string>& words, const char* between = ", ") {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

/// " in all 3 cells", " in 2 of 3 cells"; nothing where there is one cell only.
std::string share(std::size_t some, std::size_t all) {
  if (all == 1) return "";
  return some == all ? fmt::format(" in all {} cells", all)
                     : fmt::format(" in {} of {} cells", some, all);
}

/// Where one way is best.
struct Wins {
  std::string way;
  std::vector<std::string> cells;
  std::vector<double> ratios;  ///< to the next
};

using Metric = Sample WaysOfCell::Way::*;

/// "ioeventfd is best in 2 of 3 cells, 1.12 to 1.95 times the next; sync in x1, 1.30 times; ...".
std::string best_ways(const std::vector<const WaysOfCell*>& cells, Metric metric,
                      const Comparing& comparing) {
  std::vector<Wins> wins;
  std::vector<std::string> open;
  std::vector<std::string> refused;
  for (const WaysOfCell* cell : cells) {
    std::vector<const WaysOfCell::Way*> order;
    order.reserve(cell->ways.size());
    for (const auto& way : cell->ways) order.push_back(&way);
    std::ranges::stable_sort(order, std::ranges::greater(),
                             [metric](const auto* way) { return (way->*metric).median(); });
    const Ratio ratio = comparing.ratio(order[0]->*metric, order[1]->*metric);
    if (!is_ahead(ratio)) {
      (ratio.verdict == Verdict::kRefused ? refused : open).push_back(cell->cell);
      continue;
    }
    auto found = std::ranges::find(wins, order[0]->name, &Wins::way);
    if (found == wins.end()) found = wins.insert(wins.end(), {order[0]->name, {}, {}});
    found->cells.push_back(cell->cell);
    found->ratios.push_back(ratio.value);
  }
  std::ranges::stable_sort(wins, std::ranges::greater(),
                           [](const Wins& one) { return one.cells.size(); });
  std::vector<std::string> parts;
  parts.reserve(wins.size());
  for (const Wins& one : wins) {
    parts.push_back(
        parts.empty()
            ? fmt::format("{} is best{}, {} times the next", one.way,
                          share(one.cells.size(), cells.size()), range_of(one.ratios))
            : fmt::format("{} in {}, {} times", one.way, joined(one.cells), range_of(one.ratios)));
  }
  if (!open.empty()) {
    parts.push_back(parts.empty()
                        ? "none is best beyond the noise" + share(open.size(), cells.size())
                        : "within noise in " + joined(open));
  }
  if (!refused.empty()) {
    parts.push_back("disturbed, so that nothing is said" + share(refused.size(), cells.size()));
  }
  return joined(parts, "; ");
}

/// "ahead in 20 of 24 cells, 1.05 to 7.40 times as much; ...".
std::string ahead_and_behind(const std::vector<PairOfCells>& pairs, Ratio PairOfCells::*metric) {
  std::vector<double> ahead;
  std::vector<std::pair<double, std::string>> behind;
  std::size_t refused = 0;
  for (const PairOfCells& pair : pairs) {
    const Ratio& ratio = pair.*metric;
    if (is_ahead(ratio)) {
      ahead.push_back(ratio.value);
    } else if (is_behind(ratio)) {
      behind.emplace_back(ratio.value, pair.cell);
    } else if (ratio.verdict == Verdict::kRefused) {
      ++refused;
    }
  }
  const std::size_t open = pairs.size() - ahead.size() - behind.size() - refused;
  std::vector<std::string> parts;
  if (!ahead.empty()) {
    parts.push_back(fmt::format("ahead{}, {} times as much", share(ahead.size(), pairs.size()),
                                range_of(ahead)));
  }
  if (!behind.empty()) {
    std::ranges::sort(behind);
    std::vector<std::string> named;
    for (const auto& [times, cell] : behind) {
      if (named.size() == kMaxNamed) break;
      named.push_back(fmt::format("{} ({:.2f})", cell, times));
    }
    std::string list = joined(named);
    if (behind.size() > kMaxNamed) list += fmt::format(" and {} more", behind.size() - kMaxNamed);
    parts.push_back(fmt::format("behind{}: {}", share(behind.size(), pairs.size()), list));
  }
  if (open > 0) parts.push_back("within noise" + share(open, pairs.size()));
  if (refused > 0) {
    parts.push_back("disturbed, so that nothing is said" + share(refused, pairs.size()));
  }
  return joined(parts, "; ");
}

/// One way beside sync, in all cells that have both.
struct BesideSync {
  std::string way;
  std::string last_cell;
  Ratio last_throughput;
  Ratio last_efficiency;
  std::size_t cells = 0;
  std::size_t refused = 0;
  std::size_t within_noise = 0;
  int throughput = 0;  ///< cells ahead less cells behind
  int efficiency = 0;
};

int sign(const Ratio& ratio) { return is_ahead(ratio) ? 1 : is_behind(ratio) ? -1 : 0; }

BesideSync beside_sync(const std::string& way, const std::vector<WaysOfCell>& cells,
                       const Comparing& comparing) {
  BesideSync sum;
  sum.way = way;
  for (const WaysOfCell& cell : cells) {
    const auto sync = std::ranges::find(cell.ways, "sync", &WaysOfCell::Way::name);
    const auto other = std::ranges::find(cell.ways, way, &WaysOfCell::Way::name);
    if (sync == cell.ways.end() || other == cell.ways.end()) continue;
    sum.last_cell = cell.kind + (cell.cell.empty() ? "" : " ") + cell.cell;
    sum.last_throughput = comparing.ratio(other->throughput, sync->throughput);
    sum.last_efficiency = comparing.ratio(other->efficiency, sync->efficiency);
    ++sum.cells;
    sum.refused += sum.last_throughput.verdict == Verdict::kRefused ? 1 : 0;
    sum.within_noise += sum.last_throughput.verdict == Verdict::kWithinNoise ? 1 : 0;
    sum.throughput += sign(sum.last_throughput);
    sum.efficiency += sign(sum.last_efficiency);
  }
  return sum;
}

/// "+50 %", "no more than noise".
std::string in_words(const Ratio& ratio) {
  if (ratio.verdict == Verdict::kRefused) return "an unknown change (disturbed)";
  if (ratio.verdict == Verdict::kWithinNoise) return "no change beyond the noise";
  return fmt::format("{:+.0f} %", (ratio.value - 1) * 100);
}

std::string advice(const BesideSync& sum) {
  const char* const way = sum.way.c_str();
  if (sum.refused == sum.cells) return "measure again while this host has nothing else to do";
  if (sum.throughput > 0 && sum.efficiency >= 0) return fmt::format("use {}", way);
  if (sum.throughput < 0 && sum.efficiency <= 0) return "use sync";
  if (sum.throughput > 0)
    return fmt::format("use {} for throughput, sync where CPU time counts", way);
  if (sum.throughput < 0)
    return fmt::format("use sync for throughput, {} where CPU time counts", way);
  if (sum.efficiency != 0) return fmt::format("use {}", sum.efficiency > 0 ? way : "sync");
  return "it does not matter which is used";
}

}  // namespace

std::vector<std::string> find_best_ways(const std::string& vmm,
                                        const std::vector<WaysOfCell>& cells,
                                        const Comparing& comparing) {
  std::vector<std::string> kinds;
  std::map<std::string, std::vector<const WaysOfCell*>> by_kind;
  for (const WaysOfCell& cell : cells) {
    if (cell.ways.size() < 2) continue;
    auto& same = by_kind[cell.kind];
    if (same.empty()) kinds.push_back(cell.kind);
    same.push_back(&cell);
  }
  std::vector<std::string> findings;
  for (const std::string& kind : kinds) {
    const auto& same = by_kind[kind];
    const bool named = same.size() == 1 && !same[0]->cell.empty();
    findings.push_back(
        fmt::format("{}{} with {}: by throughput {}. By bytes for a host CPU second {}.", kind,
                    named ? " " + same[0]->cell : "", vmm,
                    best_ways(same, &WaysOfCell::Way::throughput, comparing),
                    best_ways(same, &WaysOfCell::Way::efficiency, comparing)));
  }
  return findings;
}

std::string find_headline(const std::vector<WaysOfCell>& cells, const Comparing& comparing) {
  // The way that is measured most often beside sync; of several the first.
  std::vector<std::string> names;
  for (const WaysOfCell& cell : cells) {
    for (const auto& way : cell.ways) {
      if (way.name != "sync" && std::ranges::find(names, way.name) == names.end()) {
        names.push_back(way.name);
      }
    }
  }
  BesideSync best;
  for (const std::string& name : names) {
    BesideSync sum = beside_sync(name, cells, comparing);
    if (sum.cells > best.cells) best = std::move(sum);
  }
  if (best.cells == 0) return "";
  return fmt::format(
      "On this host {} gives {} of throughput in {} and {} of bytes for each CPU second, beside "
      "sync; {} of {} gains {} within noise; {}.",
      best.way, in_words(best.last_throughput), best.last_cell, in_words(best.last_efficiency),
      best.within_noise, best.cells, best.within_noise == 1 ? "lies" : "lie", advice(best));
}

std::vector<std::string> find_ahead_and_behind(const std::string& peer, const std::string& with,
                                               const std::vector<PairOfCells>& pairs) {
  if (pairs.empty()) return {};
  const std::string beside = peer + (with.empty() ? "" : ", ") + with;
  return {fmt::format("Bellhop beside {}, notified in the same way: by throughput {}.", beside,
                      ahead_and_behind(pairs, &PairOfCells::throughput)),
          fmt::format("Bellhop beside {}, by bytes for a host CPU second: {}.", beside,
                      ahead_and_behind(pairs, &PairOfCells::efficiency))};
}

std::vector<std::string> begin_findings(const Rounds& rounds) {
  if (rounds.most > 1) return {};
  return {
      "Each cell was measured once: there is no spread, and small differences mean nothing "
      "(--repeat 5 tells)."};
}

std::string CellName::full() const { return kind + (cell.empty() ? "" : " ") + cell + " " + way; }

std::string to_text(const std::vector<std::string>& findings, std::size_t columns) {
  std::string text;
  for (const std::string& finding : findings) text += wrap(finding, columns, 2) + "\n";
  return text;
}

}  // namespace bellhop::bench
