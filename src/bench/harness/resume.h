#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "bench/harness/interleave.h"
#include "bench/harness/measurement_json.h"

// A sweep that goes on where an earlier one stopped, from the JSON that it wrote. The file may have
// been written by anybody: whatever is in it, it is refused or it is a report.
namespace bellhop::bench {

/// Errors: it is no report of ours, or of another schema.
Result<nlohmann::ordered_json> parse_report(std::string_view text);
/// Errors: names what was asked for otherwise, or measured on another host. `options` has the names
/// of options and their values; `host` those of its facts that must be the same.
Status check_same(const nlohmann::ordered_json& report, const nlohmann::ordered_json& options,
                  const nlohmann::ordered_json& host);
/// From parse_report(). Errors: it is not there, or no number.
Result<std::uint64_t> seed_in(const nlohmann::ordered_json& report);

// ---- details

/// The members "cell" and "all_repeats" (or "rejected_repeats") of one run.
Result<std::string> cell_in(const nlohmann::ordered_json& run);
Result<nlohmann::ordered_json> list_in(const nlohmann::ordered_json& json, const char* name);

template <class M>
Result<std::vector<M>> repeats_in(const nlohmann::ordered_json& run, const char* name) {
  const auto list = list_in(run, name);
  if (!list) return forward(list);
  std::vector<M> repeats;
  for (const auto& one : *list) {
    M repeat;
    if (auto read = from_json(one, repeat); !read) return forward(read);
    if (!(repeat.seconds > 0) || repeat.bytes == 0 || repeat.operations == 0) {
      return fail("a repeat has done nothing");
    }
    if (!std::isfinite(repeat.mb_per_s()) || !std::isfinite(repeat.bytes_per_host_cpu_s())) {
      return fail("a repeat has done more than can be counted");
    }
    repeats.push_back(std::move(repeat));
  }
  return repeats;
}

/// What the runs of a report have measured: `most` repeats of each cell at most.
template <class M>
Result<Earlier<M>> earlier_in(const nlohmann::ordered_json& report, std::size_t most) {
  const auto runs = list_in(report, "runs");
  if (!runs) return forward(runs);
  Earlier<M> earlier;
  for (const auto& run : *runs) {
    auto cell = cell_in(run);
    if (!cell) return forward(cell);
    auto all = repeats_in<M>(run, "all_repeats");
    if (!all) return forward(all);
    auto rejected = repeats_in<M>(run, "rejected_repeats");
    if (!rejected) return forward(rejected);
    if (all->size() > most) return fail("a cell has more repeats than were asked for");
    earlier[*cell] = {std::move(*all), std::move(*rejected)};
  }
  return earlier;
}

}  // namespace bellhop::bench
