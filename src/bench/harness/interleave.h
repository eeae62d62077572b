#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/result.h"
#include "bench/harness/machine_cell.h"
#include "bench/harness/measurement.h"

namespace bellhop::bench {

/// Told before every repeat: its number from 1 on, of how many, and what it is.
using Progress = std::function<void(std::size_t, std::size_t, const std::string&)>;

/// How a sweep runs its cells.
template <class Cell, class M>
struct CellRunner {
  /// Errors: why this host cannot run the cell.
  std::function<Result<CpuPlan>(const Cell&)> prepare;
  /// One repeat. Errors: the cell failed; EINTR ends the sweep.
  std::function<Result<M>(const Cell&, const CpuPlan&)> measure;
  /// How much of a repeat's time was taken by others than what is measured, in seconds.
  std::function<double(const Cell&, const M&)> taken_by_others;
};

/// A repeat of which others took more is disturbed, and measured again, so often at most.
inline constexpr double kMostTakenByOthers = 0.02;
inline constexpr unsigned kTries = 3;

/// One repeat, and further ones in its place while it is disturbed: the last of them.
template <class Cell, class M>
Result<M> measure_undisturbed(const CellRunner<Cell, M>& runner, const Cell& cell,
                              const CpuPlan& plan) {
  auto measured = runner.measure(cell, plan);
  for (unsigned tries = 1; measured; ++tries) {
    measured->disturbed =
        runner.taken_by_others(cell, *measured) > kMostTakenByOthers * measured->seconds;
    if (!measured->disturbed || tries == kTries) break;
    measured = runner.measure(cell, plan);
  }
  return measured;
}

/// Runs all cells, the repeats of each compared set interleaved, so that a slow minute of the host
/// hits all of them; each round in another order (the same in each run), so that none is always the
/// one after a certain other. Cells that cannot be run, or fail, are listed in `not_run`.
/// Errors: EINTR.
template <class Cell, class M>
Status run_interleaved(const std::vector<std::vector<Cell>>& sets, unsigned repeats,
                       const CellRunner<Cell, M>& runner, const Progress& progress,
                       std::vector<RunOf<Cell, M>>& runs, std::vector<NotRun>& not_run) {
  struct Entry {
    Cell cell;
    CpuPlan plan;
    std::vector<M> measurements;
    std::optional<std::string> trouble;
    bool failed = false;
  };
  std::size_t total = 0;
  for (const auto& set : sets) total += set.size() * repeats;
  std::size_t done = 0;
  std::mt19937 random(repeats);
  for (const auto& set : sets) {
    std::vector<Entry> entries;
    for (const Cell& cell : set) {
      Entry entry{cell, {}, {}, {}, false};
      if (auto plan = runner.prepare(cell)) {
        entry.plan = std::move(*plan);
      } else {
        entry.trouble = plan.error().message;
      }
      entries.push_back(std::move(entry));
    }
    std::vector<std::size_t> order(entries.size());
    std::iota(order.begin(), order.end(), 0);
    for (unsigned repeat = 0; repeat < repeats; ++repeat) {
      std::ranges::shuffle(order, random);
      for (const std::size_t index : order) {
        Entry& entry = entries[index];
        ++done;
        if (entry.trouble) continue;
        progress(done, total, describe(entry.cell));
        auto measured = measure_undisturbed(runner, entry.cell, entry.plan);
        if (measured) {
          entry.measurements.push_back(std::move(*measured));
        } else if (measured.error().code == EINTR) {
          return forward(measured);
        } else {
          entry.trouble = measured.error().message;
          entry.failed = true;
        }
      }
    }
    for (Entry& entry : entries) {
      if (entry.trouble) {
        not_run.push_back({describe(entry.cell), *entry.trouble, entry.failed});
      } else {
        runs.push_back(summarise(entry.cell, std::move(entry.measurements)));
      }
    }
  }
  return {};
}

}  // namespace bellhop::bench
