#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "bench/harness/machine_cell.h"
#include "bench/harness/measurement.h"
#include "bench/harness/report_base.h"

// Sentences that say what the runs of a report have shown. Of two figures one is better only where
// the interval of their ratio says so; single repeats have none, and are taken as they are.
namespace bellhop::bench {

/// A cell that was measured with one VMM in several ways to notify.
struct WaysOfCell {
  struct Way {
    std::string name;
    Sample throughput;
    Sample efficiency;
  };
  std::string kind;  ///< cells of one kind share their sentences: "Random reads"
  std::string cell;  ///< which of them: "x16"
  std::vector<Way> ways;
};
/// Which way is best, for each kind of cells; nothing about cells with a single way.
std::vector<std::string> find_best_ways(const std::string& vmm,
                                        const std::vector<WaysOfCell>& cells,
                                        const Comparing& comparing);
/// All of it in one sentence: what the way that is measured beside sync gives and costs in the last
/// cell, how many gains are noise, and which is to be used. Empty where sync was not measured, or
/// nothing beside it.
std::string find_headline(const std::vector<WaysOfCell>& cells, const Comparing& comparing);

/// A cell that was measured with two VMMs, in the same way.
struct PairOfCells {
  std::string cell;  ///< "Random reads x16 ioeventfd"
  Ratio throughput;
  Ratio efficiency;
};
/// In how many cells Bellhop is ahead of a peer or behind it, and where it is behind. `with` is
/// what these cells have in common, "with trains of datagrams"; may be empty.
std::vector<std::string> find_ahead_and_behind(const std::string& peer, const std::string& with,
                                               const std::vector<PairOfCells>& pairs);

/// What must be said before all others: nothing, or that single repeats have no spread.
std::vector<std::string> begin_findings(const Rounds& rounds);

/// Each on lines of its own.
std::string to_text(const std::vector<std::string>& findings, std::size_t columns);

/// How a cell is called in sentences; without what all cells of the report share.
struct CellName {
  std::string kind;       ///< "Random reads"
  std::string cell;       ///< "x16"; may be empty where it is the only one
  std::string way;        ///< "ioeventfd"
  std::string with = "";  ///< cells with and without it are summed up apart

  /// All but `with`.
  [[nodiscard]] std::string full() const;
};

/// The cells of one VMM by their ways.
template <class Report, class NameOf>
std::vector<WaysOfCell> ways_in(const Report& report, Vmm vmm, const NameOf& name_of) {
  std::vector<WaysOfCell> cells;
  for (const auto& run : report.runs) {
    if (run.cell.vmm != vmm) continue;
    const CellName name = name_of(run.cell);
    const std::string kind = name.with.empty() ? name.kind : name.kind + " " + name.with;
    auto found = std::ranges::find_if(
        cells, [&](const WaysOfCell& one) { return one.kind == kind && one.cell == name.cell; });
    if (found == cells.end()) found = cells.insert(cells.end(), {kind, name.cell, {}});
    found->ways.push_back({name.way, run.throughput(), run.efficiency()});
  }
  return cells;
}

/// All that is to be said about a report; `name_of(cell)` gives a CellName.
template <class Report, class NameOf>
std::vector<std::string> find_in(const Report& report, const NameOf& name_of) {
  if (report.runs.empty()) return {};
  std::set<Vmm> vmms;
  for (const auto& run : report.runs) vmms.insert(run.cell.vmm);
  std::vector<std::string> findings = begin_findings(report.setting.rounds);
  const auto add = [&findings](std::vector<std::string> more) {
    findings.insert(findings.end(), more.begin(), more.end());
  };
  const auto& programs = report.setting.programs;
  const Comparing& comparing = report.comparing;
  for (const Vmm vmm : vmms) {
    if (vmm.is_qemu()) continue;
    add(find_best_ways(programs.label(vmm), ways_in(report, vmm, name_of), comparing));
  }
  for (const Vmm vmm : vmms) {
    if (!vmm.is_qemu()) continue;
    std::map<std::string, std::vector<PairOfCells>> pairs;
    for (const auto& run : report.runs) {
      for (const auto& peer : report.runs) {
        if (peer.cell.vmm != vmm || !is_compared(run.cell, peer.cell)) continue;
        if (run.cell.vmm == vmm) continue;
        const CellName name = name_of(run.cell);
        pairs[name.with].push_back(
            {name.full(), comparing.throughput(&run, &peer), comparing.efficiency(&run, &peer)});
      }
    }
    for (const auto& [with, some] : pairs) {
      add(find_ahead_and_behind(programs.label(vmm), with, some));
    }
  }
  return findings;
}

}  // namespace bellhop::bench
