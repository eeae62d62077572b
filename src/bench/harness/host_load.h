#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"

namespace bellhop::bench {

/// What all CPUs of this host did since it started, in seconds: the first line of /proc/stat.
struct CpuTimes {
  double busy_s = 0;
  double idle_s = 0;
  double steal_s = 0;  ///< kept from it by its own host
};
/// All zero where the text is no /proc/stat.
CpuTimes find_cpu_times(const std::string& stat, double ticks_per_s);
/// Errors: /proc/stat cannot be read.
Result<CpuTimes> read_cpu_times();

/// How busy this host was with other programs.
struct HostLoad {
  double other_cpus = 0;             ///< CPUs that other programs kept busy, on average: 1.5
  double steal_cpus = 0;             ///< CPUs that its own host kept from it
  std::array<double, 3> averages{};  ///< of 1, 5 and 15 minutes

  /// Whether figures that are taken now would be disturbed by more than a comparison bears.
  [[nodiscard]] bool is_busy() const noexcept { return other_cpus + steal_cpus > 0.1; }
};
/// Of all programs but this one and its children, which used `own_s` seconds meanwhile.
HostLoad load_between(const CpuTimes& begin, const CpuTimes& end, double seconds, double own_s);

/// The load before a command began to measure, and while it did.
struct LoadReport {
  HostLoad before;
  HostLoad during;
};
/// "1.4 of 2 CPUs are busy with other programs ...": empty where the host is not busy.
std::string warn_of(const HostLoad& load, unsigned cpus);
nlohmann::ordered_json to_json(const LoadReport& load);

/// Watches the load while this program and its children run.
class LoadWatch {
 public:
  /// Looks for so long how busy the host is, doing nothing. Errors: as read_cpu_times().
  static Result<LoadWatch> start(double seconds = 0.3);
  [[nodiscard]] const HostLoad& before() const noexcept { return before_; }
  /// From start() to now.
  [[nodiscard]] Result<LoadReport> finish() const;

 private:
  struct Moment {
    CpuTimes cpus;
    double clock_s = 0;
    double own_s = 0;
  };
  static Result<Moment> now();
  static HostLoad between(const Moment& begin, const Moment& end);

  Moment begin_;
  HostLoad before_;
};

}  // namespace bellhop::bench
