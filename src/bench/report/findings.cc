#include "bench/report/findings.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <sstream>

namespace bellhop::bench {

namespace {

constexpr std::size_t kColumns = 100;
/// So many cells are named where Bellhop is behind; the tables have the others.
constexpr std::size_t kMaxNamed = 6;

bool apart(const Figure& more, const Figure& less) { return more.least > less.most; }

double ratio(const Figure& above, const Figure& below) {
  return below.median > 0 ? above.median / below.median : 0;
}

/// "1.50", or "1.05 to 1.50".
std::string range_of(const std::vector<double>& ratios) {
  const auto [least, most] = std::ranges::minmax(ratios);
  const std::string low = fmt::format("{:.2f}", least);
  const std::string high = fmt::format("{:.2f}", most);
  return low == high ? low : low + " to " + high;
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
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

using Metric = Figure WaysOfCell::Way::*;

/// "ioeventfd is best in 2 of 3 cells, 1.12 to 1.95 times the next; sync in x1, 1.30 times; ...".
std::string best_ways(const std::vector<const WaysOfCell*>& cells, Metric metric) {
  std::vector<Wins> wins;
  std::vector<std::string> open;
  for (const WaysOfCell* cell : cells) {
    std::vector<const WaysOfCell::Way*> order;
    order.reserve(cell->ways.size());
    for (const auto& way : cell->ways) order.push_back(&way);
    std::ranges::stable_sort(order, std::ranges::greater(),
                             [metric](const auto* way) { return (way->*metric).median; });
    const Figure& best = order[0]->*metric;
    const Figure& next = order[1]->*metric;
    if (!apart(best, next)) {
      open.push_back(cell->cell);
      continue;
    }
    auto found = std::ranges::find(wins, order[0]->name, &Wins::way);
    if (found == wins.end()) found = wins.insert(wins.end(), {order[0]->name, {}, {}});
    found->cells.push_back(cell->cell);
    found->ratios.push_back(ratio(best, next));
  }
  std::ranges::stable_sort(wins, std::ranges::greater(),
                           [](const Wins& one) { return one.cells.size(); });
  std::string text;
  for (const Wins& one : wins) {
    text += text.empty() ? fmt::format("{} is best{}, {} times the next", one.way,
                                       share(one.cells.size(), cells.size()), range_of(one.ratios))
                         : fmt::format("; {} in {}, {} times", one.way, joined(one.cells),
                                       range_of(one.ratios));
  }
  if (open.empty()) return text;
  if (text.empty()) return "none is best beyond the spread" + share(open.size(), cells.size());
  return text + fmt::format("; within the spread in {}", joined(open));
}

/// "ahead in 20 of 24 cells, 1.05 to 7.40 times as much; ...".
std::string ahead_and_behind(const std::vector<PairOfCells>& pairs, Figure PairOfCells::*own,
                             Figure PairOfCells::*other) {
  std::vector<double> ahead;
  std::vector<std::pair<double, std::string>> behind;
  for (const PairOfCells& pair : pairs) {
    const Figure& ours = pair.*own;
    const Figure& theirs = pair.*other;
    if (apart(ours, theirs)) {
      ahead.push_back(ratio(ours, theirs));
    } else if (apart(theirs, ours)) {
      behind.emplace_back(ratio(ours, theirs), pair.cell);
    }
  }
  const std::size_t open = pairs.size() - ahead.size() - behind.size();
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
  if (open > 0) parts.push_back("within the spread" + share(open, pairs.size()));
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : "; ") + part;
  return text;
}

}  // namespace

std::vector<std::string> find_best_ways(const std::string& vmm,
                                        const std::vector<WaysOfCell>& cells) {
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
    findings.push_back(fmt::format(
        "{}{} with {}: by throughput {}. By bytes for a host CPU second {}.", kind,
        named ? " " + same[0]->cell : "", vmm, best_ways(same, &WaysOfCell::Way::throughput),
        best_ways(same, &WaysOfCell::Way::efficiency)));
  }
  return findings;
}

std::vector<std::string> find_ahead_and_behind(const std::string& peer,
                                               const std::vector<PairOfCells>& pairs) {
  if (pairs.empty()) return {};
  return {
      fmt::format("Bellhop beside {}, notified in the same way: by throughput {}.", peer,
                  ahead_and_behind(pairs, &PairOfCells::throughput, &PairOfCells::peer_throughput)),
      fmt::format(
          "Bellhop beside {}, by bytes for a host CPU second: {}.", peer,
          ahead_and_behind(pairs, &PairOfCells::efficiency, &PairOfCells::peer_efficiency))};
}

std::vector<std::string> begin_findings(unsigned repeats) {
  if (repeats > 1) return {};
  return {
      "Each cell was measured once: there is no spread, and small differences mean nothing "
      "(--repeat 5 tells)."};
}

std::string CellName::full() const { return kind + (cell.empty() ? "" : " ") + cell + " " + way; }

std::string to_text(const std::vector<std::string>& findings) {
  std::string text;
  for (const std::string& finding : findings) {
    std::size_t column = 0;
    std::istringstream words(finding);
    for (std::string word; words >> word;) {
      if (column > 0 && column + 1 + word.size() > kColumns) {
        text += "\n  ";
        column = 2;
      } else if (column > 0) {
        text += ' ';
        ++column;
      }
      text += word;
      column += word.size();
    }
    text += '\n';
  }
  return text;
}

}  // namespace bellhop::bench
