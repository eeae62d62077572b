#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bench/blk/blk_cell.h"
#include "bench/harness/measurement.h"
#include "bench/harness/programs.h"
#include "bench/harness/report_base.h"

namespace bellhop::bench {

using Run = RunOf<BlkCell, Measurement>;

/// `--disk null=...`: nothing of it is kept, so that nothing of it can be checked.
struct NullMedium {
  std::uint64_t bytes = std::uint64_t{1} << 30;
  std::chrono::nanoseconds latency{0};
};

/// What all runs of a report have in common.
struct BlkSetting {
  unsigned block_bytes = 4096;
  Aio aio = Aio::kNative;
  Cache cache = Cache::kNone;
  TransportKind transport = TransportKind::kPci;
  Optimize optimize = Optimize::kThroughput;  ///< of notify=adaptive
  std::string medium;                         ///< "tmpfs", "ext4", ...
  std::optional<NullMedium> null;             ///< in the place of an image
  bool served = false;  ///< by a vhost-user back end, whose CPU time alone counts
  std::string socket;   ///< of a back end that listens already; empty: we start one for each cell
  std::uint64_t socket_bytes = 0;  ///< of its disk that are used
  double seconds = 3;              ///< measured, for each repeat
  Rounds rounds;
  Programs programs;
};

struct BlkReport : ReportBase {
  BlkSetting setting;
  std::vector<Run> runs;

  [[nodiscard]] const Run* find(const BlkCell& cell) const;
};

/// Of a run's JSON what it has before its figures.
nlohmann::ordered_json cell_fields(const BlkCell& cell, const BlkSetting& setting);
/// The schema that all measurements share (see docs/measuring.md).
nlohmann::ordered_json to_json(const BlkReport& report);
/// One line a run; nested names joined with dots.
std::string to_csv(const BlkReport& report);

}  // namespace bellhop::bench
