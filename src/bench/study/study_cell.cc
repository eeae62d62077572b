#include "bench/study/study_cell.h"

#include <fmt/format.h>

namespace bellhop::bench {

std::string to_string(const Way& way) {
  if (!way.is_adaptive()) return bellhop::to_string(way.notify);
  return fmt::format("adaptive for {}", bellhop::to_string(way.optimize));
}

std::string describe(const Spot& spot) {
  return fmt::format("{} x{} {}, {} vCPU{}, {}", to_string(spot.workload), spot.threads,
                     to_string(spot.placement), spot.vcpus, spot.vcpus == 1 ? "" : "s",
                     spot.medium);
}

std::string describe(const StudyCell& cell) {
  return describe(cell.spot) + ", " + to_string(cell.way);
}

std::string describe_latency(std::chrono::nanoseconds latency) {
  const auto us = std::chrono::duration<double, std::micro>(latency).count();
  return us < 1000 ? fmt::format("{:g} us", us) : fmt::format("{:g} ms", us / 1000);
}

bool is_compared(const StudyCell& cell, const StudyCell& base) {
  if (cell.spot != base.spot || cell.way == base.way || base.way.is_adaptive()) return false;
  return cell.way.is_adaptive() || base.way.notify == NotifyMode::kSync;
}

namespace {

std::vector<Way> ways_of(const StudySweep& sweep) {
  std::vector<Way> ways;
  for (const NotifyMode notify : sweep.notify) {
    if (notify != NotifyMode::kAdaptive) {
      ways.push_back({notify, Optimize::kThroughput});
      continue;
    }
    for (const Optimize optimize : sweep.optimize) ways.push_back({notify, optimize});
  }
  return ways;
}

}  // namespace

std::vector<std::vector<StudyCell>> compared_sets(const StudySweep& sweep) {
  const std::vector<Way> ways = ways_of(sweep);
  std::vector<std::vector<StudyCell>> sets;
  for (const StudyMedium& medium : sweep.media) {
    for (const Workload workload : sweep.workloads) {
      for (const Placement placement : sweep.placements) {
        for (const unsigned vcpus : sweep.vcpus) {
          for (const unsigned threads : sweep.threads) {
            auto& set = sets.emplace_back();
            for (const Way& way : ways) {
              set.push_back({{workload, threads, vcpus, placement, medium.name}, way});
            }
          }
        }
      }
    }
  }
  return sets;
}

Result<CpuPlan> plan_cpus(const Spot& spot, const CpuList& available) {
  if (spot.vcpus > available.size()) {
    return fail(fmt::format("{} vCPUs need {} CPUs; there {} {}", spot.vcpus, spot.vcpus,
                            available.size() == 1 ? "is" : "are", available.size()));
  }
  if (spot.threads < spot.vcpus) {
    return fail("fewer threads than vCPUs: the others would only rest");
  }
  return plan_cpus(spot.placement, spot.vcpus, available);
}

}  // namespace bellhop::bench
