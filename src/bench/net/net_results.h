#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/cpu_list.h"
#include "base/result.h"
#include "bench/harness/measurement.h"
#include "bench/harness/programs.h"
#include "bench/harness/report_base.h"
#include "bench/net/net_cell.h"
#include "config/machine_config.h"

namespace bellhop::bench {

/// One repeat of one cell. `operations` are messages or pings; bytes are UDP payload, counted at
/// the receiver.
struct NetMeasurement : Measurement {
  std::uint64_t datagrams = 0;       ///< received in the measured time
  std::uint64_t datagrams_sent = 0;  ///< from the first on, like `lost`
  std::uint64_t lost = 0;
  std::uint64_t frames = 0;       ///< that crossed the device in the measured time, both ways
  double end_cpu_s = 0;           ///< of the host's end of the link, which is not the VMM's
  std::uint64_t retransmits = 0;  ///< segments that a Linux guest's TCP stream sent again
  bool offload = false;           ///< large frames were cut by offload in the stream's direction

  [[nodiscard]] double megabits_per_s() const noexcept { return mb_per_s() * 8; }
  [[nodiscard]] double datagrams_per_s() const noexcept;
  /// Of `datagrams_sent`.
  [[nodiscard]] double lost_share() const noexcept;
};

/// With a member "net"; and the reverse. Errors: a field is missing or wrong.
nlohmann::ordered_json to_json(const NetMeasurement& repeat);
Status from_json(const nlohmann::ordered_json& json, NetMeasurement& repeat);

using NetRun = RunOf<NetCell, NetMeasurement>;

/// What all runs of a report have in common.
struct NetSetting {
  TransportKind transport = TransportKind::kPci;
  double seconds = 3;  ///< measured, for each repeat
  Rounds rounds;
  CpuList end_cpus;  ///< of the process at the other end
  Programs programs;
};

struct NetReport : ReportBase {
  NetSetting setting;
  std::vector<NetRun> runs;

  [[nodiscard]] const NetRun* find(const NetCell& cell) const;
};

/// The schema that all measurements share (see docs/measuring.md), with a member "net" in each run.
nlohmann::ordered_json to_json(const NetReport& report);
std::string to_csv(const NetReport& report);

}  // namespace bellhop::bench
