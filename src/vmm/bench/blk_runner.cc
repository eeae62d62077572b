#include "vmm/bench/blk_runner.h"

#include <fmt/format.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "vmm/bench/qmp_client.h"

namespace bellhop::bench {

namespace {

using nlohmann::json;
using std::chrono::seconds;

constexpr seconds kPatience{20};  // for a start, a boot and an end, beyond the measured seconds
constexpr seconds kEndPatience{5};

double number_in(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

std::optional<std::uint64_t> count_in(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_integer()) return std::nullopt;
  if (!found->is_number_unsigned() && found->get<std::int64_t>() < 0) return std::nullopt;
  return found->get<std::uint64_t>();
}

std::string text_in(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

Status pin(int tid, const CpuList& cpus) {
  if (cpus.empty()) return {};
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const unsigned cpu : cpus) CPU_SET(cpu, &set);
  if (::sched_setaffinity(tid, sizeof set, &set) != 0) {
    return fail_errno(fmt::format("cannot pin thread {}", tid));
  }
  return {};
}

void add_cpu_use(Measurement& measurement, const CpuUse& use) {
  measurement.host_cpu_s = use.total_s;
  measurement.vcpu_cpu_s = use.vcpu_s;
  measurement.io_cpu_s = use.io_s;
  measurement.counters.context_switches = use.context_switches;
  measurement.counters.wakeups_other_core = use.remote_wakeups;
}

std::string read_file(int fd) {
  std::string text;
  std::array<char, 4096> chunk;
  for (off_t offset = 0;;) {
    const ssize_t got = ::pread(fd, chunk.data(), chunk.size(), offset);
    if (got <= 0) return text;
    text.append(chunk.data(), static_cast<std::size_t>(got));
    offset += got;
  }
}

/// QEMU's threads onto the CPUs of the plan. Where there is no I/O thread the main loop does the
/// completions and takes its place.
Status place_qemu(QmpClient& control, pid_t pid, const CpuPlan& plan,
                  const std::vector<int>& vcpus) {
  const auto iothreads = control.iothread_tids();
  if (!iothreads) return forward(iothreads);
  for (std::size_t i = 0; i < vcpus.size() && i < plan.vcpus.size(); ++i) {
    if (auto pinned = pin(vcpus[i], plan.vcpus[i]); !pinned) return pinned;
  }
  for (const int tid : *iothreads) {
    if (auto pinned = pin(tid, plan.io); !pinned) return pinned;
  }
  return iothreads->empty() ? pin(pid, plan.io) : Status{};
}

}  // namespace

Result<Measurement> read_result(const json& result) {
  const auto verified = result.find("verified");
  if (verified == result.end() || !verified->is_boolean() || !verified->get<bool>()) {
    return fail(
        fmt::format("the guest found wrong data or failed requests ({:.0f} wrong blocks, "
                    "{:.0f} I/O errors): no figure",
                    number_in(result, "wrong_blocks"), number_in(result, "io_errors")));
  }
  Measurement m;
  m.seconds = number_in(result, "seconds");
  m.operations = count_in(result, "operations").value_or(0);
  m.bytes = count_in(result, "bytes").value_or(0);
  if (!(m.seconds > 0) || m.operations == 0 || m.bytes == 0) {
    return fail("the guest did nothing in the measured time");
  }
  if (const auto latency = result.find("latency_us");
      latency != result.end() && latency->is_object()) {
    m.latency = {number_in(*latency, "p50"), number_in(*latency, "p99"),
                 number_in(*latency, "p999"), number_in(*latency, "max")};
  }
  m.counters.kicks = count_in(result, "kicks");
  m.counters.interrupts = count_in(result, "interrupts");
  return m;
}

Result<StatsFile> read_stats(const std::string& text) {
  const json stats = json::parse(text, nullptr, false);
  if (!stats.is_object() || !stats.contains("measured") || !stats["measured"].is_object()) {
    return fail("the machine wrote no statistics of the measured time");
  }
  StatsFile file;
  const json& measured = stats["measured"];
  file.counters.userspace_exits = count_in(measured, "userspace_exits");
  file.counters.kicks = count_in(measured, "kicks");
  file.counters.kicks_in_vain = count_in(measured, "kicks_in_vain");
  file.counters.interrupts = count_in(measured, "interrupts");
  file.counters.system_calls = count_in(measured, "system_calls");
  if (stats.contains("threads") && stats["threads"].is_object() &&
      stats["threads"].contains("vcpu") && stats["threads"]["vcpu"].is_array()) {
    for (const json& tid : stats["threads"]["vcpu"]) {
      if (tid.is_number_integer()) file.vcpu_tids.push_back(tid.get<int>());
    }
  }
  return file;
}

Child::Clock::time_point BlkRunner::deadline() const {
  const std::chrono::duration<double> measured(setting_.seconds + launch_.warmup_s);
  return Child::Clock::now() + std::chrono::duration_cast<Child::Clock::duration>(measured) +
         kPatience;
}

Result<BlkRunner::Observed> BlkRunner::observe(Child& child) const {
  Observed observed;
  bool began = false;
  bool ended = false;
  std::string complaint;
  const auto limit = deadline();
  while (true) {
    auto line = child.read_line(limit, interrupt_);
    if (!line) return forward(line);
    if (!*line) break;  // end of its output
    const json object = json::parse(**line, nullptr, false);
    if (!object.is_object() || !object.contains("bellhop_guest")) continue;
    const std::string event = text_in(object, "event");
    if (event == "begin" || event == "end") {
      auto sample = CpuSample::take(child.pid());
      if (!sample) return forward(sample);
      (event == "begin" ? observed.begin : observed.end) = std::move(*sample);
      (event == "begin" ? began : ended) = true;
    } else if (event == "result") {
      observed.result = object;
      if (complaint.empty() && began && ended) return observed;
    } else if (event == "error" && complaint.empty()) {
      complaint =
          fmt::format("the guest says: {} {}", text_in(object, "what"), text_in(object, "word"));
    }
  }
  child.wait(Child::Clock::now() + kEndPatience);
  if (complaint.empty()) complaint = child.last_complaint();
  return fail(complaint.empty() ? "the machine ended without a result" : complaint);
}

Result<Measurement> BlkRunner::run(const BlkCell& cell, const CpuPlan& plan, int image) const {
  return cell.vmm == Vmm::kQemu ? run_qemu(cell, plan, image) : run_bellhop(cell, plan, image);
}

Result<Measurement> BlkRunner::run_bellhop(const BlkCell& cell, const CpuPlan& plan,
                                           int image) const {
  const UniqueFd stats(::memfd_create("stats", MFD_CLOEXEC));
  if (!stats.valid()) return fail_errno("cannot make a memory file");
  auto child = Child::spawn(bellhop_command(cell, plan, setting_, launch_),
                            {{image, kImageFd}, {stats.get(), kStatsFd}});
  if (!child) return forward(child);
  auto observed = observe(*child);
  if (!observed) return forward(observed);
  auto measurement = read_result(observed->result);
  if (!measurement) return measurement;
  const int status = child->wait(Child::Clock::now() + kEndPatience);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return fail("the machine did not end well: " + child->last_complaint());
  }
  const auto file = read_stats(read_file(stats.get()));
  if (!file) return forward(file);
  measurement->counters = file->counters;
  add_cpu_use(*measurement, used_between(observed->begin, observed->end, file->vcpu_tids));
  return measurement;
}

Result<Measurement> BlkRunner::run_qemu(const BlkCell& cell, const CpuPlan& plan, int image) const {
  if (setting_.transport != TransportKind::kPci) {
    return fail("QEMU's q35 machine has no virtio-mmio; compare with --transport pci");
  }
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return fail_errno("cannot make a socket for QEMU's control");
  }
  QmpClient control{UniqueFd(ends[0])};
  UniqueFd theirs(ends[1]);
  auto child = Child::spawn(qemu_command(cell, setting_, launch_),
                            {{image, kImageFd}, {theirs.get(), kQmpFd}});
  if (!child) return forward(child);
  theirs.reset();
  if (auto greeted = control.greet(kPatience); !greeted) {
    child->wait(Child::Clock::now() + kEndPatience);
    const std::string complaint = child->last_complaint();
    return fail(complaint.empty() ? greeted.error().message : complaint);
  }
  const auto vcpus = control.vcpu_tids();
  if (!vcpus) return forward(vcpus);
  if (auto placed = place_qemu(control, child->pid(), plan, *vcpus); !placed) {
    return forward(placed);
  }
  if (auto resumed = control.resume(); !resumed) return forward(resumed);
  auto observed = observe(*child);
  if (!observed) return forward(observed);
  auto measurement = read_result(observed->result);
  if (!measurement) return measurement;
  child->wait(Child::Clock::now() + kEndPatience);
  add_cpu_use(*measurement, used_between(observed->begin, observed->end, *vcpus));
  return measurement;
}

std::string qemu_version(const std::string& program) {
  auto child = Child::spawn({program, "--version"}, {});
  if (!child) return "";
  auto line = child->read_line(Child::Clock::now() + kEndPatience, EventFd{});
  if (!line || !*line) return "";
  constexpr std::string_view kBefore = "version ";
  const auto at = (*line)->find(kBefore);
  if (at == std::string::npos) return "";
  const std::string rest = (*line)->substr(at + kBefore.size());
  return rest.substr(0, rest.find(' '));
}

}  // namespace bellhop::bench
