#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "bench/harness/machine_cell.h"
#include "bench/harness/measurement.h"
#include "bench/harness/report_base.h"
#include "bench/harness/statistics.h"

namespace bellhop::bench {

/// Told before every repeat: its number from 1 on, of how many at most, and what it is.
using Progress = std::function<void(std::size_t, std::size_t, const std::string&)>;

/// What a sweep is about to do.
struct SweepSize {
  std::size_t cells = 0;      ///< that this host can run
  std::size_t not_run = 0;    ///< that it cannot
  std::size_t repeats = 0;    ///< that are to be measured, at least
  std::size_t at_most = 0;    ///< ... and at most, without those that are made again
  std::size_t from_file = 0;  ///< that an earlier command has measured
};

struct SweepHooks {
  std::function<void(const SweepSize&)> begin = [](const SweepSize&) {};
  Progress progress = [](std::size_t, std::size_t, const std::string&) {};
};

/// How a sweep runs its cells.
template <class Cell, class M>
struct CellRunner {
  /// Errors: why this host cannot run the cell.
  std::function<Result<CpuPlan>(const Cell&)> prepare;
  /// One repeat. Errors: the cell failed; kEndedByUser ends the sweep.
  std::function<Result<M>(const Cell&, const CpuPlan&)> measure;
  /// How much of a repeat's time was taken by others than what is measured, in seconds.
  std::function<double(const Cell&, const M&)> taken_by_others;
};

/// What an earlier command measured, by describe(cell).
template <class M>
struct Repeats {
  std::vector<M> all;
  std::vector<M> rejected;
};
template <class M>
using Earlier = std::map<std::string, Repeats<M>>;

/// Seconds of a repeat that others took, of a machine that is measured by itself.
inline double taken_by_others(Placement placement, const Measurement& m) noexcept {
  // Elsewhere its own threads wait for one another, or for our own load.
  const bool alone = placement == Placement::kOtherCore;
  return m.steal_s.value_or(0) + (alone ? m.run_delay_s().value_or(0) : 0);
}

/// A repeat of which others took more is disturbed: it is rejected and made again, so often at
/// most. If all are disturbed the least disturbed one stays, and is marked.
inline constexpr double kMostTakenByOthers = 0.02;
inline constexpr unsigned kTries = 3;

/// Runs all cells of a report, the repeats of each compared set interleaved, so that a slow minute
/// of the host hits all of them; each round in another order (which follows from the seed), so that
/// none is always the one after a certain other. `Report` is a ReportBase with `runs` and
/// `setting.rounds`.
template <class Report, class Cell, class M>
class Interleaved {
 public:
  Interleaved(Report& report, const CellRunner<Cell, M>& runner, const SweepHooks& hooks)
      : report_(report), runner_(runner), hooks_(hooks), rounds_(report.setting.rounds) {}

  /// Cells that cannot be run, or fail, are listed in the report. Where `measure` says
  /// kEndedByUser, the report has what was done, and is marked as interrupted.
  void run(const std::vector<std::vector<Cell>>& sets, const Earlier<M>& earlier) {
    for (const auto& set : sets) prepare(set, earlier);
    hooks_.begin(size());
    total_ = size().at_most;
    for (std::size_t i = 0; i < sets_.size() && !report_.interrupted; ++i) run_set(sets_[i], i);
    for (const auto& set : sets_) {
      for (const Entry& entry : set) conclude(entry);
    }
  }

 private:
  struct Entry {
    Cell cell;
    CpuPlan plan;
    Repeats<M> repeats;
    std::optional<std::string> trouble;
    bool failed = false;
  };

  void prepare(const std::vector<Cell>& set, const Earlier<M>& earlier) {
    auto& entries = sets_.emplace_back();
    for (const Cell& cell : set) {
      Entry entry{cell, {}, {}, {}, false};
      if (auto plan = runner_.prepare(cell)) {
        entry.plan = std::move(*plan);
      } else {
        entry.trouble = plan.error().message;
      }
      const auto found = earlier.find(describe(cell));
      if (found != earlier.end()) entry.repeats = found->second;
      entries.push_back(std::move(entry));
    }
  }

  [[nodiscard]] SweepSize size() const {
    SweepSize size;
    for (const auto& set : sets_) {
      for (const Entry& entry : set) {
        if (entry.trouble) {
          ++size.not_run;
          continue;
        }
        const std::size_t done = entry.repeats.all.size();
        ++size.cells;
        size.from_file += done;
        size.repeats += rounds_.least - std::min<std::size_t>(rounds_.least, done);
        size.at_most += rounds_.most - std::min<std::size_t>(rounds_.most, done);
      }
    }
    return size;
  }

  void run_set(std::vector<Entry>& set, std::size_t number) {
    for (unsigned round = 0; round < rounds_.most; ++round) {
      if (round >= rounds_.least && is_settled(set, round)) {
        for (const Entry& entry : set) {
          if (!entry.trouble) total_ -= rounds_.most - round;
        }
        return;
      }
      // Of each round by itself, so that a sweep that goes on goes on in the same order.
      constexpr std::uint64_t kRoundsOfASet = 10'000;
      const std::uint64_t seed = report_.comparing.seed + number * kRoundsOfASet + round;
      for (const std::size_t index : shuffled(set.size(), seed)) {
        Entry& entry = set[index];
        if (entry.trouble || entry.repeats.all.size() > round) continue;
        hooks_.progress(++done_, total_, describe(entry.cell));
        if (auto measured = measure(entry); !measured) {
          if (measured.error().code == kEndedByUser) {
            report_.interrupted = true;
            return;
          }
          entry.trouble = measured.error().message;
          entry.failed = true;
          total_ -= rounds_.most - round - 1;
        }
      }
    }
  }

  /// One repeat, and further ones in its place while it is disturbed.
  Status measure(Entry& entry) {
    std::vector<M> tries;
    const auto taken = [&](const M& m) {
      return runner_.taken_by_others(entry.cell, m) / m.seconds;
    };
    while (tries.size() < kTries) {
      auto measured = runner_.measure(entry.cell, entry.plan);
      if (!measured) return forward(measured);
      measured->disturbed = taken(*measured) > kMostTakenByOthers;
      tries.push_back(std::move(*measured));
      if (!tries.back().disturbed) break;
    }
    const auto best = std::ranges::min_element(tries, {}, taken);
    entry.repeats.all.push_back(*best);
    tries.erase(best);
    for (M& rejected : tries) entry.repeats.rejected.push_back(std::move(rejected));
    return {};
  }

  /// Whether each ratio is known well enough, and each cell that is in none.
  [[nodiscard]] bool is_settled(const std::vector<Entry>& set, unsigned rounds) const {
    // Refusing a ratio is for the end; more repeats do not mend it.
    const Comparing comparing{report_.comparing.seed, true};
    std::vector<RunOf<Cell, M>> runs;
    for (const Entry& entry : set) {
      if (entry.trouble) continue;
      if (entry.repeats.all.size() > rounds) return false;  // an earlier command went on
      runs.push_back(summarise(entry.cell, entry.repeats.all));
    }
    const auto is_known = [&](const Ratio& ratio) { return ratio.is_within(rounds_.within); };
    for (const auto& run : runs) {
      bool in_ratio = false;
      for (const auto& other : runs) {
        in_ratio |= is_compared(run.cell, other.cell) || is_compared(other.cell, run.cell);
        if (!is_compared(run.cell, other.cell)) continue;
        if (!is_known(comparing.throughput(&run, &other))) return false;
        if (!is_known(comparing.efficiency(&run, &other))) return false;
      }
      if (in_ratio) continue;
      for (const Sample& own : {run.throughput(), run.efficiency()}) {
        const Sample ones{std::vector<double>(own.values.size(), 1), false};
        if (!is_known(comparing.ratio(own, ones))) return false;
      }
    }
    return true;
  }

  void conclude(const Entry& entry) {
    // What an earlier command measured stays; a cell that failed gives no figure.
    const bool kept = entry.trouble && !entry.failed && !entry.repeats.all.empty();
    if (entry.trouble && !kept) {
      report_.not_run.push_back({describe(entry.cell), *entry.trouble, entry.failed});
    } else if (entry.repeats.all.empty()) {
      report_.not_run.push_back({describe(entry.cell), "interrupted before its turn", false});
    } else {
      report_.runs.push_back(summarise(entry.cell, entry.repeats.all, entry.repeats.rejected));
    }
  }

  Report& report_;
  const CellRunner<Cell, M>& runner_;
  const SweepHooks& hooks_;
  Rounds rounds_;
  std::vector<std::vector<Entry>> sets_;
  std::size_t done_ = 0;
  std::size_t total_ = 0;
};

}  // namespace bellhop::bench
