#include "bench/harness/host_load.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <sstream>
#include <thread>

#include "bench/harness/proc_file.h"

namespace bellhop::bench {

namespace {

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

double used_by(int who) {
  rusage usage{};
  if (::getrusage(who, &usage) != 0) return 0;
  return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
}

nlohmann::ordered_json one_to_json(const HostLoad& load) {
  return {{"other_cpus", load.other_cpus},
          {"steal_cpus", load.steal_cpus},
          {"load_average", load.averages},
          {"busy", load.is_busy()}};
}

}  // namespace

CpuTimes find_cpu_times(const std::string& stat, double ticks_per_s) {
  // "cpu  user nice system idle iowait irq softirq steal guest guest_nice": guests are in user and
  // nice as well.
  std::istringstream fields(stat);
  std::string name;
  double user = 0;
  double nice = 0;
  double system = 0;
  double idle = 0;
  double iowait = 0;
  double irq = 0;
  double softirq = 0;
  double steal = 0;
  fields >> name >> user >> nice >> system >> idle >> iowait >> irq >> softirq >> steal;
  if (!fields || name != "cpu") return {};
  return {(user + nice + system + irq + softirq) / ticks_per_s, (idle + iowait) / ticks_per_s,
          steal / ticks_per_s};
}

Result<CpuTimes> read_cpu_times() {
  const auto stat = read_proc_file("/proc/stat");
  if (!stat) return forward(stat);
  return find_cpu_times(*stat, static_cast<double>(::sysconf(_SC_CLK_TCK)));
}

HostLoad load_between(const CpuTimes& begin, const CpuTimes& end, double seconds, double own_s) {
  HostLoad load;
  if (!(seconds > 0)) return load;
  load.other_cpus = std::max(0.0, end.busy_s - begin.busy_s - own_s) / seconds;
  load.steal_cpus = std::max(0.0, end.steal_s - begin.steal_s) / seconds;
  return load;
}

std::string warn_of(const HostLoad& load, unsigned cpus) {
  if (!load.is_busy()) return "";
  std::string text =
      fmt::format("this host is busy: other programs use {:.1f} of {} CPUs", load.other_cpus, cpus);
  if (load.steal_cpus >= 0.05) {
    text += fmt::format(", and its own host keeps {:.1f} from it", load.steal_cpus);
  }
  return text + fmt::format(" (load average {:.1f}); figures will be disturbed", load.averages[0]);
}

nlohmann::ordered_json to_json(const LoadReport& load) {
  return {{"before", one_to_json(load.before)}, {"during", one_to_json(load.during)}};
}

Result<LoadWatch::Moment> LoadWatch::now() {
  const auto cpus = read_cpu_times();
  if (!cpus) return forward(cpus);
  timespec clock{};
  ::clock_gettime(CLOCK_MONOTONIC, &clock);
  return Moment{*cpus,
                static_cast<double>(clock.tv_sec) + static_cast<double>(clock.tv_nsec) * 1e-9,
                used_by(RUSAGE_SELF) + used_by(RUSAGE_CHILDREN)};
}

HostLoad LoadWatch::between(const Moment& begin, const Moment& end) {
  HostLoad load =
      load_between(begin.cpus, end.cpus, end.clock_s - begin.clock_s, end.own_s - begin.own_s);
  (void)::getloadavg(load.averages.data(), static_cast<int>(load.averages.size()));
  return load;
}

Result<LoadWatch> LoadWatch::start(double seconds) {
  auto begin = now();
  if (!begin) return forward(begin);
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  auto end = now();
  if (!end) return forward(end);
  LoadWatch watch;
  watch.before_ = between(*begin, *end);
  watch.begin_ = *end;
  return watch;
}

Result<LoadReport> LoadWatch::finish() const {
  auto end = now();
  if (!end) return forward(end);
  return LoadReport{before_, between(begin_, *end)};
}

}  // namespace bellhop::bench
