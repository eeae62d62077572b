#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/cpu_list.h"
#include "probe/floors.h"

// Which way to notify pays on this host, told from its floors alone: no device has run yet. What a
// request costs, in microseconds of a CPU, for b requests to a kick:
//
//   sync       exit / b + work
//   ioeventfd  (kick + q * wake) / b + work     q: share of kicks that find the I/O thread asleep
//
// Sync is cheaper where q exceeds (exit - kick) / wake. Each statement names the two cells of
// `bellhop bench` that show whether it is true.
namespace bellhop {

enum class Advice : std::uint8_t { kSync, kIoEventFd, kEither };
/// "sync", "ioeventfd", "either".
const char* to_string(Advice advice) noexcept;

/// What a request costs here with each way, and so which to use. For throughput this is the time
/// from one request to the next, for efficiency the time of all CPUs.
struct Statement {
  enum class Place : std::uint8_t { kOwnCpu, kSharedCpu, kAllCpus };
  enum class Measure : std::uint8_t { kThroughput, kEfficiency };

  Place place = Place::kOwnCpu;
  Measure measure = Measure::kThroughput;
  std::string traffic;  ///< "a disk, 16 requests at a time"
  double sync_us = 0;
  double ioeventfd_us = 0;
  std::string cell;  ///< as it is called in `comparisons` of bench's JSON
  std::string base;  ///< the same cell with sync
  std::string command;

  /// kEither where the two differ by less than kMargin.
  [[nodiscard]] Advice advice() const noexcept;
};

struct Verdict {
  /// Of the dearer over the cheaper way.
  static constexpr double kMargin = 1.1;
  /// Taken for a request's work in guest and device, which no floor tells.
  static constexpr double kWork_us = 3;
  /// The I/O thread looks for as long before it sleeps (`poll-max`).
  static constexpr double kLook_us = 64;

  /// None where exits and kicks were not measured.
  std::vector<Statement> statements;
  /// The share of kicks that may find the I/O thread asleep before sync is cheaper; over 1: all
  /// may.
  std::optional<double> asleep_at_par;
  std::string headline;  ///< what pays where, and what to use
};

/// `cpus` are those that machines may use, `has_tun` whether NICs can be measured here.
Verdict judge(const Floors& floors, const CpuList& cpus, bool has_tun);

/// "verdict" of the schema; null if there is none.
nlohmann::ordered_json to_json(const Verdict& verdict);
/// As lines for people; empty if there is none.
std::string to_text(const Verdict& verdict);

}  // namespace bellhop
