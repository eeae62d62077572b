#include "bench/harness/cpu_account.h"

#include <dirent.h>
#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <memory>
#include <sstream>
#include <string_view>
#include <system_error>

#include "bench/harness/measurement.h"
#include "bench/harness/proc_file.h"

namespace bellhop::bench {

namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

/// A process or thread that ended since it was listed, or a file that this kernel does not have.
bool is_gone(int error) { return error == ENOENT || error == ESRCH; }

/// A file in /proc; nothing where it is gone.
Result<std::string> read_if_there(const std::string& path) {
  auto text = read_proc_file(path);
  if (!text && is_gone(text.error().code)) return std::string();
  return text;
}

/// The entries of a folder of /proc that are processes or threads.
Result<std::vector<int>> list_numbers(const std::string& path) {
  const Directory folder(::opendir(path.c_str()));
  if (!folder) return fail_errno("cannot read " + path);
  std::vector<int> numbers;
  while (true) {
    errno = 0;
    const dirent* const entry = ::readdir(folder.get());
    if (entry == nullptr && is_gone(errno)) errno = 0;  // it ended meanwhile
    if (entry == nullptr && errno != 0) return fail_errno("cannot read " + path);
    if (entry == nullptr) return numbers;
    const std::string_view name = entry->d_name;
    int number = 0;
    const auto [stop, problem] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (problem == std::errc{} && stop == name.data() + name.size()) numbers.push_back(number);
  }
}

/// The first number in `text` from `at` on; 0 if there is none.
std::uint64_t number_in(std::string_view text, std::size_t at = 0) {
  at = text.find_first_of("0123456789", at);
  std::uint64_t value = 0;
  if (at != std::string_view::npos) {
    std::from_chars(text.data() + at, text.data() + text.size(), value);
  }
  return value;
}

/// The second number of a schedstat.
std::uint64_t find_run_delay_ns(std::string_view schedstat) {
  const auto gap = schedstat.find(' ');
  return gap == std::string_view::npos ? 0 : number_in(schedstat, gap);
}

std::uint64_t sum_context_switches(std::string_view status) {
  constexpr std::string_view kName = "ctxt_switches:";  // voluntary and not
  std::uint64_t sum = 0;
  for (auto at = status.find(kName); at != std::string_view::npos;
       at = status.find(kName, at + kName.size())) {
    sum += number_in(status, at + kName.size());
  }
  return sum;
}

/// Of the kernel's threads that serve vhost devices: each is called "vhost-" and the number of the
/// thread that made the device. Where they are threads of the process they are no entries here.
Result<std::uint64_t> read_vhost_ns(const std::map<int, CpuSample::Thread>& threads) {
  constexpr std::string_view kName = "vhost-";
  const auto processes = list_numbers("/proc");
  if (!processes) return forward(processes);
  std::uint64_t sum = 0;
  for (const int process : *processes) {
    const std::string folder = fmt::format("/proc/{}", process);
    const auto name = read_if_there(folder + "/comm");
    if (!name && (name.error().code == EACCES || name.error().code == EPERM)) continue;  // hidepid
    if (!name) return forward(name);
    if (!name->starts_with(kName)) continue;
    int maker = 0;
    std::from_chars(name->data() + kName.size(), name->data() + name->size(), maker);
    if (!threads.contains(maker)) continue;
    const auto used = read_if_there(folder + "/schedstat");
    if (!used) return forward(used);
    sum += number_in(*used);
  }
  return sum;
}

std::uint64_t ticks_to_ns(std::uint64_t ticks) {
  static const auto ticks_per_s = static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
  return ticks * 1'000'000'000 / ticks_per_s;
}

/// Nothing where it has ended.
Result<std::optional<CpuSample::Thread>> read_thread(const std::string& task, bool wakeups) {
  const auto schedstat = read_if_there(task + "/schedstat");
  if (!schedstat) return forward(schedstat);
  const auto sched = wakeups ? read_if_there(task + "/sched") : std::string();
  if (!sched) return forward(sched);
  const auto stat = read_if_there(task + "/stat");
  if (!stat) return forward(stat);
  // The last: it is there on every kernel, so that the thread was there for all of them.
  const auto status = read_proc_file(task + "/status");
  if (!status && is_gone(status.error().code)) return std::nullopt;
  if (!status) return forward(status);
  return CpuSample::Thread{number_in(*schedstat), sum_context_switches(*status),
                           wakeups ? find_remote_wakeups(*sched) : std::nullopt,
                           ticks_to_ns(find_system_ticks(*stat)), find_run_delay_ns(*schedstat)};
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
  const auto on = read_proc_file("/proc/sys/kernel/sched_schedstats");
  return on && number_in(*on) == 1;
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
  const std::string tasks = fmt::format("/proc/{}/task", pid);
  const auto tids = list_numbers(tasks);
  if (!tids) return forward(tids);
  for (const int tid : *tids) {
    const auto thread = read_thread(fmt::format("{}/{}", tasks, tid), wakeups);
    if (!thread) return forward(thread);
    if (*thread) sample.threads[tid] = **thread;
  }
  const auto stat = read_proc_file("/proc/stat");
  if (!stat) return forward(stat);
  sample.steal_ns = ticks_to_ns(find_steal_ticks(*stat));
  const auto vhost_ns = read_vhost_ns(sample.threads);
  if (!vhost_ns) return forward(vhost_ns);
  sample.process_ns += *vhost_ns;
  return sample;
}

CpuUse used_between(const CpuSample& begin, const CpuSample& end, const std::vector<int>& vcpus) {
  CpuUse use;
  use.total_s = static_cast<double>(end.process_ns - begin.process_ns) * 1e-9;
  for (const auto& [tid, now] : end.threads) {
    const auto before = begin.threads.find(tid);
    const CpuSample::Thread start =
        before == begin.threads.end() ? CpuSample::Thread{} : before->second;
    const double delay_s = static_cast<double>(now.run_delay_ns - start.run_delay_ns) * 1e-9;
    use.context_switches += now.context_switches - start.context_switches;
    // Where one sample has them and the other not, there is nothing to tell.
    const bool is_new = before == begin.threads.end();
    if (now.remote_wakeups && (is_new || start.remote_wakeups)) {
      use.remote_wakeups =
          use.remote_wakeups.value_or(0) + *now.remote_wakeups - start.remote_wakeups.value_or(0);
    }
    if (std::ranges::find(vcpus, tid) != vcpus.end()) {
      use.vcpu_s += static_cast<double>(now.cpu_ns - start.cpu_ns) * 1e-9;
      use.vcpu_run_delay_s += delay_s;
    } else {
      use.io_system_s += static_cast<double>(now.system_ns - start.system_ns) * 1e-9;
      use.io_run_delay_s += delay_s;
    }
  }
  use.steal_s = static_cast<double>(end.steal_ns - begin.steal_ns) * 1e-9;
  use.io_s = std::max(0.0, use.total_s - use.vcpu_s);
  return use;
}

void add_cpu_use(Measurement& measurement, const CpuUse& use) {
  measurement.host_cpu_s = use.total_s;
  measurement.vcpu_cpu_s = use.vcpu_s;
  measurement.io_cpu_s = use.io_s;
  measurement.io_system_s = use.io_system_s;
  measurement.vcpu_run_delay_s = use.vcpu_run_delay_s;
  measurement.io_run_delay_s = use.io_run_delay_s;
  measurement.steal_s = use.steal_s;
  measurement.counters.context_switches = use.context_switches;
  measurement.counters.wakeups_other_core = use.remote_wakeups;
}

}  // namespace bellhop::bench
