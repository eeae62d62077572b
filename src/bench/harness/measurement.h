#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "bench/harness/ratio.h"

namespace bellhop::bench {

// What every sweep measures.

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
  std::optional<std::uint64_t> spurious_kicks;
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
  std::optional<double> io_system_s;  ///< of io_cpu_s, in the kernel
  /// Threads were ready while their CPU ran others, those of the vCPUs and all others; nothing if
  /// not known.
  std::optional<double> vcpu_run_delay_s;
  std::optional<double> io_run_delay_s;
  /// All CPUs of this host were kept from it by its own host.
  std::optional<double> steal_s;
  bool disturbed = false;  ///< by more than a comparison bears
  Latency latency;
  Counters counters;

  /// Decimal megabytes (10^6 bytes).
  [[nodiscard]] double mb_per_s() const noexcept;
  [[nodiscard]] double iops() const noexcept;
  [[nodiscard]] double bytes_per_host_cpu_s() const noexcept;
  /// Of all threads.
  [[nodiscard]] std::optional<double> run_delay_s() const noexcept;
};

/// A cell and its repeats. Every one was verified: others give no figure. `M` is a Measurement.
template <class Cell, class M>
struct RunOf {
  Cell cell;
  M median;  ///< the repeat whose mb_per_s is in the middle: counters and CPU seconds are its
  std::vector<M> all = {};       ///< in the order of the rounds
  std::vector<M> rejected = {};  ///< were disturbed and made again

  [[nodiscard]] std::size_t repeats() const noexcept { return all.size(); }
  [[nodiscard]] std::size_t disturbed() const noexcept {
    return static_cast<std::size_t>(std::ranges::count_if(all, &M::disturbed));
  }
  /// mb_per_s of all repeats.
  [[nodiscard]] Sample throughput() const {
    return sample([](const M& m) { return m.mb_per_s(); });
  }
  /// bytes_per_host_cpu_s of all repeats.
  [[nodiscard]] Sample efficiency() const {
    return sample([](const M& m) { return m.bytes_per_host_cpu_s(); });
  }
  /// One by the median latency in seconds, of all repeats: the more the better, as the others are.
  [[nodiscard]] Sample quickness() const {
    return sample([](const M& m) { return m.latency.p50 > 0 ? 1e6 / m.latency.p50 : 0; });
  }

 private:
  template <class Figure>
  [[nodiscard]] Sample sample(const Figure& figure) const {
    Sample result{{}, disturbed() > 0};
    result.values.reserve(all.size());
    for (const M& m : all) result.values.push_back(figure(m));
    return result;
  }
};

/// The repeats of a cell; of an even number the lower of the two in the middle stands for counters
/// and CPU seconds. `repeats` is not empty.
template <class Cell, class M>
RunOf<Cell, M> summarise(const Cell& cell, std::vector<M> repeats, std::vector<M> rejected = {}) {
  std::vector<M> sorted = repeats;
  std::ranges::stable_sort(sorted, {}, [](const M& m) { return m.mb_per_s(); });
  return {cell, sorted[(sorted.size() - 1) / 2], std::move(repeats), std::move(rejected)};
}

}  // namespace bellhop::bench
