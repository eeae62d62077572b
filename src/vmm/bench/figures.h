#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "vmm/bench/blk_cell.h"

namespace bellhop::bench {

/// Microseconds.
struct Latency {
  double p50 = 0;
  double p99 = 0;
  double p999 = 0;
  double max = 0;
};

/// What is absent is not to be known from outside of that VMM.
struct Counters {
  std::optional<std::uint64_t> userspace_exits;
  std::optional<std::uint64_t> kicks;
  std::optional<std::uint64_t> kicks_in_vain;
  std::optional<std::uint64_t> interrupts;
  std::optional<std::uint64_t> context_switches;
  std::optional<std::uint64_t> wakeups_other_core;
  std::optional<std::uint64_t> system_calls;
};

/// One repeat of one cell.
struct Measurement {
  double seconds = 0;
  std::uint64_t operations = 0;
  std::uint64_t bytes = 0;
  double host_cpu_s = 0;
  double vcpu_cpu_s = 0;
  double io_cpu_s = 0;
  Latency latency;
  Counters counters;

  /// Decimal megabytes (10^6 bytes).
  [[nodiscard]] double mb_per_s() const noexcept;
  [[nodiscard]] double iops() const noexcept;
  [[nodiscard]] double bytes_per_host_cpu_s() const noexcept;
};

/// A cell and the median (by mb_per_s) of its repeats. Every one was verified: others give no
/// figure.
struct Run {
  BlkCell cell;
  unsigned repeats = 0;
  Measurement median;
  double least_mb_per_s = 0;
  double most_mb_per_s = 0;
};

struct NotRun {
  std::string cell;
  std::string reason;
  bool failed = false;  ///< it was tried
};

/// The repeat with the median mb_per_s (the lower one of two in the middle), and the spread.
/// `measurements` is not empty.
Run summarise(const BlkCell& cell, std::vector<Measurement> measurements);

/// What all runs of a report have in common.
struct BlkSetting {
  unsigned block_bytes = 4096;
  Aio aio = Aio::kNative;
  Cache cache = Cache::kNone;
  TransportKind transport = TransportKind::kPci;
  std::string medium;  ///< "tmpfs", "ext4", ...
  double seconds = 3;  ///< measured, for each repeat
  unsigned repeats = 3;
  std::string bellhop_version;
  std::string qemu_version;
};

struct BlkReport {
  nlohmann::ordered_json host;
  nlohmann::ordered_json floors;
  BlkSetting setting;
  std::vector<Run> runs;
  std::vector<NotRun> not_run;

  [[nodiscard]] const Run* find(const BlkCell& cell) const;
  /// Whether a cell was tried in vain; cells that this host cannot run do not count.
  [[nodiscard]] bool has_failures() const;
};

/// The schema that all measurements share (see docs/measuring.md).
nlohmann::ordered_json to_json(const BlkReport& report);
/// One line a run; nested names joined with dots.
std::string to_csv(const BlkReport& report);

}  // namespace bellhop::bench
