#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "bench/study/study_results.h"

// What a study's runs say, as values: tables, sentences and the JSON are made of them.
namespace bellhop::bench {

/// By throughput, MB/s; by efficiency, MB for a host CPU second; by latency, where adaptive was
/// told to look at that, how many of a request's median times go into a second.
std::vector<Optimize> objectives_of(const StudyReport& report);
inline constexpr std::array kFixedWays = {Way{NotifyMode::kSync, Optimize::kThroughput},
                                          Way{NotifyMode::kIoEventFd, Optimize::kThroughput},
                                          Way{NotifyMode::kPoll, Optimize::kThroughput}};
/// Adaptive is to have this part of the best fixed way's at least.
inline constexpr double kPartOfBest = 0.95;

/// What `objective` looks at, of each repeat.
Sample figures(const StudyRun& run, Optimize objective);

/// The fixed ways of a spot, the best first; those that were not measured are left out.
std::vector<const StudyRun*> ranked_fixed_ways(const StudyReport& report, const Spot& spot,
                                               Optimize objective);

/// Adaptive, told of this objective, beside the fixed way with the highest median in one spot.
struct AgainstBest {
  enum class Goal : std::uint8_t {
    kUnknown,  ///< disturbed
    kReached,  ///< kPartOfBest of the best, or more
    kMayMiss,  ///< less, and the interval reaches that far, or there is none
    kMissed,
  };
  Spot spot;
  Way best;
  double best_value = 0;
  double adaptive_value = 0;
  Ratio ratio;

  [[nodiscard]] Goal goal() const;
};
/// "reached", "may miss", "missed", "disturbed".
std::string to_string(AgainstBest::Goal goal);
/// Of each spot that has adaptive and a fixed way.
std::vector<AgainstBest> adaptive_against_best(const StudyReport& report, Optimize objective);

/// The geometric mean of adaptive's ratios over all spots that have both.
struct Whole {
  std::optional<Way> beside;  ///< one fixed way everywhere; nothing: in each spot its best
  std::size_t cells = 0;
  double mean = 0;
  double least = 0;
  double most = 0;
  std::size_t ahead = 0;  ///< cells in which the interval lies above 1
  std::size_t behind = 0;
};
/// Beside each fixed way, and the best of each spot last. Disturbed ratios are left out; nothing
/// where none is left.
std::vector<Whole> over_the_whole(const StudyReport& report, Optimize objective);

/// Two fixed ways along one dimension: threads, or the latency of a null medium.
struct Crossover {
  Optimize objective = Optimize::kThroughput;
  std::string along;               ///< "threads", "latency"
  std::string line;                ///< "from 8 threads on ioeventfd beats sync"
  std::vector<std::string> where;  ///< all that have this line
};
std::vector<Crossover> find_crossovers(const StudyReport& report);

/// One place along a dimension: its name, and what one way has for each of the other's.
struct Step {
  std::string name;
  Ratio ratio;
};
/// Which of the two is ahead from where on, by the intervals; single repeats are taken as they are.
/// Disturbed steps take no part. Empty for fewer than two steps.
std::string describe_crossover(const std::string& one, const std::string& other,
                               const std::vector<Step>& steps);

/// Which way beside sync, in each placement: the geometric mean of throughput over its spots.
struct BesideSync {
  Placement placement = Placement::kFree;
  double mean = 0;
};
std::vector<BesideSync> ioeventfd_beside_sync(const StudyReport& report);

}  // namespace bellhop::bench
