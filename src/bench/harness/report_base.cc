#include "bench/harness/report_base.h"

#include <fmt/format.h>

#include <algorithm>

namespace bellhop::bench {

std::string describe(const Rounds& rounds, double seconds) {
  if (rounds.most == 1) return fmt::format("one run of {:g} s", seconds);
  if (rounds.is_fixed()) return fmt::format("median of {} x {:g} s", rounds.most, seconds);
  return fmt::format("median of {} to {} x {:g} s", rounds.least, rounds.most, seconds);
}

std::string describe(const TwoPeaks& peaks, std::size_t repeats) {
  return fmt::format("{:.1f} MB/s in {} of {}, {:.1f} in the others", peaks.low, peaks.in_low,
                     repeats, peaks.high);
}

bool ReportBase::has_failures() const { return std::ranges::any_of(not_run, &NotRun::failed); }

bool ReportBase::has_failed(const std::string& cell) const {
  return std::ranges::any_of(not_run,
                             [&cell](const NotRun& one) { return one.failed && one.cell == cell; });
}

std::vector<NotRunGroup> group_not_run(const std::vector<NotRun>& not_run) {
  std::vector<NotRunGroup> groups;
  for (const NotRun& one : not_run) {
    auto found = std::ranges::find_if(groups, [&one](const NotRunGroup& group) {
      return group.reason == one.reason && group.failed == one.failed;
    });
    if (found == groups.end()) found = groups.insert(groups.end(), {one.reason, {}, one.failed});
    found->cells.push_back(one.cell);
  }
  std::ranges::stable_partition(groups, &NotRunGroup::failed);
  return groups;
}

std::string not_run_text(const ReportBase& report) {
  std::string text;
  for (const NotRunGroup& group : group_not_run(report.not_run)) {
    text += (group.failed ? "Failed: " : "Not run: ") + group.reason + "\n";
    for (const std::string& cell : group.cells) text += "  " + cell + "\n";
  }
  return text;
}

}  // namespace bellhop::bench
