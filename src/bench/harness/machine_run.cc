#include "bench/harness/machine_run.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "base/cpu_list.h"
#include "bench/harness/busy_load.h"
#include "bench/harness/machine_command.h"
#include "bench/harness/qmp_client.h"

namespace bellhop::bench {

namespace {

using std::chrono::seconds;

constexpr seconds kStartPatience{20};
constexpr seconds kEndPatience{5};

double number_in(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

std::optional<std::uint64_t> count_in(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_integer()) return std::nullopt;
  if (!found->is_number_unsigned() && found->get<std::int64_t>() < 0) return std::nullopt;
  return found->get<std::uint64_t>();
}

std::string text_in(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

/// "3 wrong blocks, 1 I/O errors"
std::string faults_in(const nlohmann::json& result) {
  constexpr std::pair<const char*, const char*> kFaults[] = {
      {"wrong_blocks", "wrong blocks"},       {"io_errors", "I/O errors"},
      {"wrong_datagrams", "wrong datagrams"}, {"reordered", "reordered datagrams"},
      {"bad_frames", "bad frames"},
  };
  std::string text;
  for (const auto& [key, name] : kFaults) {
    const double count = number_in(result, key);
    if (count > 0) text += fmt::format("{}{:.0f} {}", text.empty() ? "" : ", ", count, name);
  }
  return text.empty() ? "it does not say what" : text;
}

bool flag_in(const nlohmann::json& object, const char* key, bool otherwise) {
  const auto found = object.find(key);
  return found != object.end() && found->is_boolean() ? found->get<bool>() : otherwise;
}

Result<Measurement> read_figures(const nlohmann::json& result) {
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

/// QEMU's threads onto the CPUs of the plan. Where there is no I/O thread the main loop does the
/// completions and takes its place.
Status place_qemu(QmpClient& control, pid_t pid, const CpuPlan& plan,
                  const std::vector<int>& vcpus) {
  const auto iothreads = control.iothread_tids();
  if (!iothreads) return forward(iothreads);
  for (std::size_t i = 0; i < vcpus.size() && i < plan.vcpus.size(); ++i) {
    if (auto pinned = pin_thread(vcpus[i], plan.vcpus[i]); !pinned) return pinned;
  }
  for (const int tid : *iothreads) {
    if (auto pinned = pin_thread(tid, plan.io); !pinned) return pinned;
  }
  return iothreads->empty() ? pin_thread(pid, plan.io) : Status{};
}

}  // namespace

std::string read_whole_file(int fd) {
  std::string text;
  std::array<char, 4096> chunk;
  for (off_t offset = 0;;) {
    const ssize_t got = ::pread(fd, chunk.data(), chunk.size(), offset);
    if (got <= 0) return text;
    text.append(chunk.data(), static_cast<std::size_t>(got));
    offset += got;
  }
}

Result<Measurement> read_result(const nlohmann::json& result) {
  if (!flag_in(result, "verified", false)) {
    return fail(fmt::format("the guest found wrong data or failed requests ({}): no figure",
                            faults_in(result)));
  }
  return read_figures(result);
}

Result<Measurement> read_unchecked_result(const nlohmann::json& result) {
  if (flag_in(result, "checked", true)) return fail("the guest checked a medium without data");
  if (number_in(result, "io_errors") > 0) {
    return fail(fmt::format("the guest had failed requests ({}): no figure", faults_in(result)));
  }
  return read_figures(result);
}

Result<StatsFile> read_stats(const std::string& text) {
  const nlohmann::json stats = nlohmann::json::parse(text, nullptr, false);
  if (!stats.is_object() || !stats.contains("measured") || !stats["measured"].is_object()) {
    return fail("the machine wrote no statistics of the measured time");
  }
  StatsFile file;
  const nlohmann::json& measured = stats["measured"];
  file.counters.userspace_exits = count_in(measured, "userspace_exits");
  file.counters.kicks = count_in(measured, "kicks");
  file.counters.spurious_kicks = count_in(measured, "spurious_kicks");
  file.counters.interrupts = count_in(measured, "interrupts");
  file.counters.system_calls = count_in(measured, "system_calls");
  if (stats.contains("threads") && stats["threads"].is_object() &&
      stats["threads"].contains("vcpu") && stats["threads"]["vcpu"].is_array()) {
    for (const nlohmann::json& tid : stats["threads"]["vcpu"]) {
      if (tid.is_number_integer()) file.vcpu_tids.push_back(tid.get<int>());
    }
  }
  return file;
}

Result<MachineRunner::Observed> MachineRunner::observe(Child& child, const MachineRun& run) const {
  Observed observed;
  bool began = false;
  bool ended = false;
  std::string complaint;
  const std::chrono::duration<double> expected(run.seconds);
  const auto limit = Child::Clock::now() + run.patience +
                     std::chrono::duration_cast<Child::Clock::duration>(expected);
  while (true) {
    auto line = child.read_line(limit, interrupt_);
    if (!line) return forward(line);
    if (!*line) break;  // end of its output
    const nlohmann::json object = nlohmann::json::parse(**line, nullptr, false);
    if (!object.is_object() || !object.contains("bellhop_guest")) continue;
    const std::string event = text_in(object, "event");
    if (event == "begin" || event == "end") {
      const bool begins = event == "begin";
      auto sample = CpuSample::take(child.pid());
      if (!sample) return forward(sample);
      (begins ? observed.begin : observed.end) = std::move(*sample);
      if (run.other >= 0) {
        auto other = CpuSample::take(run.other);
        if (!other) return forward(other);
        (begins ? observed.other_begin : observed.other_end) = std::move(*other);
      }
      (begins ? began : ended) = true;
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

Result<MachineOutcome> MachineRunner::run_bellhop(const MachineRun& run) const {
  const UniqueFd stats(::memfd_create("stats", MFD_CLOEXEC));
  if (!stats.valid()) return fail_errno("cannot make a memory file");
  const auto load = BusyLoad::start(run.plan.busy_processes);
  if (!load) return forward(load);
  auto files = run.files;
  files.emplace_back(stats.get(), kStatsFd);
  auto child = Child::spawn(run.command, files);
  if (!child) return forward(child);
  auto observed = observe(*child, run);
  if (!observed) return forward(observed);
  auto measurement = run.read(observed->result);
  if (!measurement) return forward(measurement);
  const int status = child->wait(Child::Clock::now() + run.patience);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return fail("the machine did not end well: " + child->last_complaint());
  }
  const auto file = read_stats(read_whole_file(stats.get()));
  if (!file) return forward(file);
  measurement->counters = file->counters;
  add_cpu_use(*measurement, used_between(observed->begin, observed->end, file->vcpu_tids));
  return MachineOutcome{*measurement, std::move(observed->result),
                        used_between(observed->other_begin, observed->other_end, {}).total_s};
}

Result<MachineOutcome> MachineRunner::run_qemu(const MachineRun& run) const {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return fail_errno("cannot make a socket for QEMU's control");
  }
  QmpClient control{UniqueFd(ends[0])};
  UniqueFd theirs(ends[1]);
  const auto load = BusyLoad::start(run.plan.busy_processes);
  if (!load) return forward(load);
  auto files = run.files;
  files.emplace_back(theirs.get(), kQmpFd);
  auto child = Child::spawn(run.command, files);
  if (!child) return forward(child);
  theirs.reset();
  if (auto greeted = control.greet(kStartPatience); !greeted) {
    child->wait(Child::Clock::now() + kEndPatience);
    const std::string complaint = child->last_complaint();
    return fail(complaint.empty() ? greeted.error().message : complaint);
  }
  const auto vcpus = control.vcpu_tids();
  if (!vcpus) return forward(vcpus);
  if (auto placed = place_qemu(control, child->pid(), run.plan, *vcpus); !placed) {
    return forward(placed);
  }
  if (auto resumed = control.resume(); !resumed) return forward(resumed);
  auto observed = observe(*child, run);
  if (!observed) return forward(observed);
  auto measurement = run.read(observed->result);
  if (!measurement) return forward(measurement);
  child->wait(Child::Clock::now() + kEndPatience);
  add_cpu_use(*measurement, used_between(observed->begin, observed->end, *vcpus));
  return MachineOutcome{*measurement, std::move(observed->result),
                        used_between(observed->other_begin, observed->other_end, {}).total_s};
}

}  // namespace bellhop::bench
