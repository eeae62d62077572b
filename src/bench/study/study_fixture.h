#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "bench/study/study_results.h"

namespace bellhop::bench {

inline constexpr Way kSync{NotifyMode::kSync, Optimize::kThroughput};
inline constexpr Way kEvent{NotifyMode::kIoEventFd, Optimize::kThroughput};
inline constexpr Way kPoll{NotifyMode::kPoll, Optimize::kThroughput};
inline constexpr Way kFast{NotifyMode::kAdaptive, Optimize::kThroughput};
inline constexpr Way kThrifty{NotifyMode::kAdaptive, Optimize::kEfficiency};
inline constexpr Way kQuick{NotifyMode::kAdaptive, Optimize::kLatency};

/// A report that is filled by hand.
class StudyRows {
 public:
  explicit StudyRows(unsigned repeats = 7) : repeats_(repeats) {
    report_.setting.rounds = {repeats, repeats};
    report_.setting.medium = "tmpfs";
    report_.setting.media = {{"tmpfs", "/dev/shm", std::nullopt}};
    for (const int us : {0, 50, 1000}) {
      NullMedium null;
      null.latency = std::chrono::microseconds(us);
      report_.setting.media.push_back({"null " + describe_latency(null.latency), "", null});
    }
  }

  /// Medians of MB/s, of MB for a CPU second and of the latency; repeats lie up to `spread` of that
  /// to both sides, each way in an order of its own, so that no round was slow for all.
  StudyRows& add(const Spot& spot, const Way& way, double mb_per_s, double mb_per_cpu_s,
                 double spread = 0.01, bool disturbed = false, double latency_us = 0) {
    constexpr double kParts[] = {0, -1, 1, 0.5, -0.5, 0.8, -0.8};
    std::vector<Measurement> all;
    for (std::size_t i = 0; i < repeats_; ++i) {
      const double part = repeats_ == 1 ? 0 : kParts[(i * (turn_ + 1) + turn_) % 7];
      const double speed = mb_per_s * (1 + spread * part);
      Measurement m;
      m.seconds = 10;
      m.bytes = static_cast<std::uint64_t>(speed * 1e6 * m.seconds);
      m.operations = m.bytes / 4096;
      m.host_cpu_s = static_cast<double>(m.bytes) * 1e-6 / (mb_per_cpu_s * (1 + spread * part));
      m.disturbed = disturbed;
      m.latency.p50 = latency_us / (1 + spread * part);
      all.push_back(m);
    }
    turn_ = (turn_ + 1) % 6;
    report_.runs.push_back(summarise(StudyCell{spot, way}, std::move(all)));
    return *this;
  }
  /// All ways of a spot, by throughput; each CPU second has half of that but for poll's tenth.
  StudyRows& add_all(const Spot& spot, double sync, double event, double poll, double adaptive) {
    add(spot, kSync, sync, sync / 2).add(spot, kEvent, event, event / 2);
    add(spot, kPoll, poll, poll / 10);
    return add(spot, kFast, adaptive, adaptive / 10).add(spot, kThrifty, sync, adaptive / 2);
  }
  StudyReport& report() { return report_; }

 private:
  unsigned repeats_;
  std::size_t turn_ = 0;
  StudyReport report_;
};

inline Spot spot_at(Placement placement, unsigned threads, const std::string& medium = "tmpfs",
                    unsigned vcpus = 1) {
  return {Workload::kRandRead, threads, vcpus, placement, medium};
}

}  // namespace bellhop::bench
