#pragma once

#include <compare>
#include <optional>
#include <string>
#include <vector>

#include "bench/blk/blk_cell.h"
#include "bench/harness/machine_cell.h"
#include "bench/report/results.h"

// The grid of `bellhop bench study`: the ways to notify are compared in many spots.
namespace bellhop::bench {

/// One way to notify.
struct Way {
  NotifyMode notify = NotifyMode::kSync;
  Optimize optimize = Optimize::kThroughput;  ///< what kAdaptive looks at; else as it is here

  [[nodiscard]] bool is_adaptive() const noexcept { return notify == NotifyMode::kAdaptive; }
  friend auto operator<=>(const Way&, const Way&) = default;
};

/// All that is the same for the ways that are compared.
struct Spot {
  Workload workload = Workload::kRandRead;
  unsigned threads = 1;
  unsigned vcpus = 1;
  Placement placement = Placement::kFree;
  std::string medium;  ///< the name of a StudyMedium
  friend auto operator<=>(const Spot&, const Spot&) = default;
};

struct StudyCell {
  static constexpr Vmm vmm = Vmm::kBellhop;

  Spot spot;
  Way way;
  friend bool operator==(const StudyCell&, const StudyCell&) = default;
};

/// What lies under the disk of some cells.
struct StudyMedium {
  std::string name;                ///< "tmpfs", "null 50 us"
  std::string folder = "";         ///< of the images
  std::optional<NullMedium> null;  ///< in their place
};

/// Which cells; every list is one that the command line can narrow.
struct StudySweep {
  std::vector<Workload> workloads = {Workload::kRandRead};
  std::vector<unsigned> threads = {1, 8, 16};
  std::vector<unsigned> vcpus = {1, 2, 4};
  std::vector<Placement> placements = {Placement::kSameCore, Placement::kOtherCore,
                                       Placement::kFree, Placement::kBusy};
  std::vector<NotifyMode> notify = {NotifyMode::kSync, NotifyMode::kIoEventFd, NotifyMode::kPoll,
                                    NotifyMode::kAdaptive};
  std::vector<Optimize> optimize = {Optimize::kThroughput, Optimize::kEfficiency};
  std::vector<StudyMedium> media;
};

/// "sync", "adaptive for efficiency".
std::string to_string(const Way& way);
/// "randread x16 other-core, 2 vCPUs, null 50 us".
std::string describe(const Spot& spot);
/// The same with the way at the end.
std::string describe(const StudyCell& cell);
/// "50 us", "1 ms", "0 us".
std::string describe_latency(std::chrono::nanoseconds latency);

/// Whether reports have the ratio of `cell` to `base`: any other way to sync, adaptive to every
/// fixed way, all in one spot.
bool is_compared(const StudyCell& cell, const StudyCell& base);

/// The ways of each spot stand together, spots of one medium after those of another.
std::vector<std::vector<StudyCell>> compared_sets(const StudySweep& sweep);

/// Errors: why this host cannot run the spot, or there is nothing to be learnt from it. `available`
/// are the CPUs of this process.
Result<CpuPlan> plan_cpus(const Spot& spot, const CpuList& available);

}  // namespace bellhop::bench
