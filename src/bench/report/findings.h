#pragma once

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "bench/harness/machine_cell.h"
#include "bench/harness/measurement.h"

// Sentences that say what the runs of a report have shown. Of two figures one is better only where
// their repeats lie wholly apart; single repeats have no spread, and are taken as they are.
namespace bellhop::bench {

/// Throughput, or what a host CPU second moves: the median of some repeats, the least and the most.
struct Figure {
  double median = 0;
  double least = 0;
  double most = 0;
};
template <class Cell, class M>
Figure throughput_figure(const RunOf<Cell, M>& run) {
  return {run.median.mb_per_s(), run.least_mb_per_s, run.most_mb_per_s};
}
template <class Cell, class M>
Figure efficiency_figure(const RunOf<Cell, M>& run) {
  return {run.bytes_per_host_cpu_s, run.least_bytes_per_host_cpu_s, run.most_bytes_per_host_cpu_s};
}

/// A cell that was measured with one VMM in several ways to notify.
struct WaysOfCell {
  struct Way {
    std::string name;
    Figure throughput;
    Figure efficiency;
  };
  std::string kind;  ///< cells of one kind share their sentences: "Random reads"
  std::string cell;  ///< which of them: "x16"
  std::vector<Way> ways;
};
/// Which way is best, for each kind of cells; nothing about cells with a single way.
std::vector<std::string> find_best_ways(const std::string& vmm,
                                        const std::vector<WaysOfCell>& cells);

/// A cell that was measured with two VMMs, in the same way.
struct PairOfCells {
  std::string cell;  ///< "Random reads x16 ioeventfd"
  Figure throughput;
  Figure peer_throughput;
  Figure efficiency;
  Figure peer_efficiency;
};
/// In how many cells Bellhop is ahead of a peer or behind it, and where it is behind.
std::vector<std::string> find_ahead_and_behind(const std::string& peer,
                                               const std::vector<PairOfCells>& pairs);

/// What must be said before all others: nothing, or that single repeats have no spread.
std::vector<std::string> begin_findings(unsigned repeats);

/// Each on lines of its own, of at most 100 columns.
std::string to_text(const std::vector<std::string>& findings);

/// How a cell is called in sentences; without what all cells of the report share.
struct CellName {
  std::string kind;  ///< "Random reads"
  std::string cell;  ///< "x16"; may be empty where it is the only one
  std::string way;   ///< "ioeventfd"

  /// All three.
  [[nodiscard]] std::string full() const;
};

/// All that is to be said about a report; `name_of(cell)` gives a CellName.
template <class Report, class NameOf>
std::vector<std::string> find_in(const Report& report, const NameOf& name_of) {
  if (report.runs.empty()) return {};
  std::set<Vmm> vmms;
  for (const auto& run : report.runs) vmms.insert(run.cell.vmm);
  std::vector<std::string> findings = begin_findings(report.setting.repeats);
  const auto add = [&findings](std::vector<std::string> more) {
    findings.insert(findings.end(), more.begin(), more.end());
  };
  const auto& programs = report.setting.programs;
  for (const Vmm vmm : vmms) {
    if (vmm.is_qemu()) continue;
    std::vector<WaysOfCell> cells;
    for (const auto& run : report.runs) {
      if (run.cell.vmm != vmm) continue;
      const CellName name = name_of(run.cell);
      auto found = std::ranges::find_if(cells, [&name](const WaysOfCell& one) {
        return one.kind == name.kind && one.cell == name.cell;
      });
      if (found == cells.end()) found = cells.insert(cells.end(), {name.kind, name.cell, {}});
      found->ways.push_back({name.way, throughput_figure(run), efficiency_figure(run)});
    }
    add(find_best_ways(programs.label(vmm), cells));
  }
  for (const Vmm vmm : vmms) {
    if (!vmm.is_qemu()) continue;
    std::vector<PairOfCells> pairs;
    for (const auto& run : report.runs) {
      if (run.cell.vmm != Vmm::kBellhop) continue;
      auto cell = run.cell;
      cell.vmm = vmm;
      const auto* peer = report.find(cell);
      if (peer == nullptr) continue;
      pairs.push_back({name_of(cell).full(), throughput_figure(run), throughput_figure(*peer),
                       efficiency_figure(run), efficiency_figure(*peer)});
    }
    add(find_ahead_and_behind(programs.label(vmm), pairs));
  }
  return findings;
}

}  // namespace bellhop::bench
