#include "bench/harness/cpu_account.h"

#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>

namespace bellhop::bench {

namespace {

std::uint64_t read_cpu_ns(const std::filesystem::path& task) {
  std::uint64_t cpu_ns = 0;
  std::ifstream(task / "schedstat") >> cpu_ns;
  return cpu_ns;
}

std::uint64_t read_run_delay_ns(const std::filesystem::path& task) {
  std::uint64_t cpu_ns = 0;
  std::uint64_t delay_ns = 0;
  std::ifstream(task / "schedstat") >> cpu_ns >> delay_ns;
  return delay_ns;
}

std::uint64_t read_context_switches(const std::filesystem::path& task) {
  std::ifstream file(task / "status");
  std::string line;
  std::uint64_t sum = 0;
  while (std::getline(file, line)) {
    if (line.find("ctxt_switches:") == std::string::npos) continue;
    const auto number = line.find_first_of("0123456789");
    std::uint64_t value = 0;
    if (number != std::string::npos) {
      std::from_chars(line.data() + number, line.data() + line.size(), value);
    }
    sum += value;
  }
  return sum;
}

/// Of the kernel's threads that serve vhost devices: each is called "vhost-" and the number of the
/// thread that made the device. Where they are threads of the process they are no entries here.
std::uint64_t read_vhost_ns(const std::map<int, CpuSample::Thread>& threads) {
  constexpr std::string_view kName = "vhost-";
  std::uint64_t sum = 0;
  std::error_code error;
  for (const auto& process : std::filesystem::directory_iterator("/proc", error)) {
    std::string name;
    std::ifstream(process.path() / "comm") >> name;
    if (!name.starts_with(kName)) continue;
    int maker = 0;
    std::from_chars(name.data() + kName.size(), name.data() + name.size(), maker);
    if (threads.contains(maker)) sum += read_cpu_ns(process.path());
  }
  return sum;
}

std::string read_text(const std::filesystem::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

std::uint64_t ticks_to_ns(std::uint64_t ticks) {
  static const auto ticks_per_s = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  return ticks * 1'000'000'000 / ticks_per_s;
}

}  // namespace

std::uint64_t find_system_ticks(const std::string& stat) {
  // "42 (a name) S 1 ...": a name may hold anything, so that fields are counted behind it.
  constexpr int kFieldsBefore = 12;  // from the state, the third field, to utime, the fourteenth
  const auto name = stat.rfind(')');
  if (name == std::string::npos) return 0;
  std::istringstream fields(stat.substr(name + 1));
  std::string skipped;
  for (int i = 0; i < kFieldsBefore; ++i) fields >> skipped;
  std::uint64_t ticks = 0;
  fields >> ticks;
  return fields ? ticks : 0;
}

std::uint64_t find_steal_ticks(const std::string& stat) {
  // "cpu  user nice system idle iowait irq softirq steal ...": all CPUs, the first line.
  constexpr int kFieldsBefore = 7;
  std::istringstream fields(stat);
  std::string skipped;
  fields >> skipped;
  if (skipped != "cpu") return 0;
  for (int i = 0; i < kFieldsBefore; ++i) fields >> skipped;
  std::uint64_t ticks = 0;
  fields >> ticks;
  return fields ? ticks : 0;
}

std::optional<std::uint64_t> find_remote_wakeups(const std::string& sched) {
  // "nr_wakeups_remote                            :                  123", after a prefix.
  constexpr std::string_view kName = "nr_wakeups_remote";
  const auto at = sched.find(kName);
  if (at == std::string::npos) return std::nullopt;
  const auto number = sched.find_first_not_of(" \t:", at + kName.size());
  if (number == std::string::npos) return std::nullopt;
  std::uint64_t value = 0;
  const auto [stop, problem] =
      std::from_chars(sched.data() + number, sched.data() + sched.size(), value);
  if (problem != std::errc{}) return std::nullopt;
  return value;
}

bool wakeups_are_counted() {
  int on = 0;
  std::ifstream("/proc/sys/kernel/sched_schedstats") >> on;
  return on == 1;
}

Result<CpuSample> CpuSample::take(pid_t pid) {
  CpuSample sample;
  // The clock first: it is what bytes per CPU second is made of. Reading /proc takes longer.
  clockid_t clock{};
  timespec time{};
  if (::clock_getcpuclockid(pid, &clock) != 0 || ::clock_gettime(clock, &time) != 0) {
    return fail_errno(fmt::format("cannot read the CPU time of process {}", pid));
  }
  sample.process_ns = static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
                      static_cast<std::uint64_t>(time.tv_nsec);
  // Switched off, the counters are there and stand still.
  const bool wakeups = wakeups_are_counted();
  std::error_code error;
  const std::filesystem::path tasks = fmt::format("/proc/{}/task", pid);
  for (const auto& task : std::filesystem::directory_iterator(tasks, error)) {
    const std::string name = task.path().filename().string();
    int tid = 0;
    std::from_chars(name.data(), name.data() + name.size(), tid);
    sample.threads[tid] = {
        read_cpu_ns(task.path()), read_context_switches(task.path()),
        wakeups ? find_remote_wakeups(read_text(task.path() / "sched")) : std::nullopt,
        ticks_to_ns(find_system_ticks(read_text(task.path() / "stat"))),
        read_run_delay_ns(task.path())};
  }
  sample.steal_ns = ticks_to_ns(find_steal_ticks(read_text("/proc/stat")));
  sample.process_ns += read_vhost_ns(sample.threads);
  return sample;
}

CpuUse used_between(const CpuSample& begin, const CpuSample& end, const std::vector<int>& vcpus) {
  CpuUse use;
  use.total_s = static_cast<double>(end.process_ns - begin.process_ns) * 1e-9;
  for (const auto& [tid, now] : end.threads) {
    const auto before = begin.threads.find(tid);
    const CpuSample::Thread start =
        before == begin.threads.end() ? CpuSample::Thread{} : before->second;
    use.run_delay_s += static_cast<double>(now.run_delay_ns - start.run_delay_ns) * 1e-9;
    use.context_switches += now.context_switches - start.context_switches;
    if (now.remote_wakeups) {
      use.remote_wakeups =
          use.remote_wakeups.value_or(0) + *now.remote_wakeups - start.remote_wakeups.value_or(0);
    }
    if (std::ranges::find(vcpus, tid) != vcpus.end()) {
      use.vcpu_s += static_cast<double>(now.cpu_ns - start.cpu_ns) * 1e-9;
    } else {
      use.io_system_s += static_cast<double>(now.system_ns - start.system_ns) * 1e-9;
    }
  }
  use.steal_s = static_cast<double>(end.steal_ns - begin.steal_ns) * 1e-9;
  use.io_s = std::max(0.0, use.total_s - use.vcpu_s);
  return use;
}

}  // namespace bellhop::bench
