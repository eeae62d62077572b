#include "bench/harness/measurement.h"

namespace bellhop::bench {

namespace {

double ratio(double above, double below) noexcept { return below > 0 ? above / below : 0; }

}  // namespace

double Measurement::mb_per_s() const noexcept {
  return ratio(static_cast<double>(bytes) * 1e-6, seconds);
}
double Measurement::iops() const noexcept {
  return ratio(static_cast<double>(operations), seconds);
}
double Measurement::bytes_per_host_cpu_s() const noexcept {
  return ratio(static_cast<double>(bytes), host_cpu_s);
}
std::optional<double> Measurement::run_delay_s() const noexcept {
  if (!vcpu_run_delay_s && !io_run_delay_s) return std::nullopt;
  return vcpu_run_delay_s.value_or(0) + io_run_delay_s.value_or(0);
}

}  // namespace bellhop::bench
