#include "bench/notify/notify_bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>

#include "base/cpu_list.h"
#include "bench/harness/bare_machine.h"
#include "bench/harness/child.h"
#include "hypervisor/hypervisor.h"
#include "virtio/queue/notify_mode.h"

namespace bellhop::bench {

namespace {

constexpr std::chrono::seconds kPatience{60};

/// The CPU of the vCPU and that of whoever is notified: the same where there is only one.
struct Places {
  CpuList vcpu;
  CpuList io;
};

Places choose_places() {
  const CpuList available = allowed_cpus();
  if (available.empty()) return {};
  return {{available.front()}, {available[available.size() > 1 ? 1 : 0]}};
}

Result<double> measure_bellhop(const NotifyOptions& options, const Places& places, NotifyMode mode,
                               const EventFd& interrupt) {
  const std::vector<std::string> command = {
      options.bellhop,   "run",
      "--kernel",        options.guest,
      "--memory",        "64M",
      "--cmdline",       fmt::format("workload=notify count={}", options.kicks),
      "--vcpu-affinity", "0=" + format_cpu_list(places.vcpu),
      "--iothread",      "io0,cpus=" + format_cpu_list(places.io),
      "--disk",          fmt::format("null=64M,notify={}", bellhop::to_string(mode))};
  auto child = Child::spawn(command, {});
  if (!child) return forward(child);
  const auto deadline = Child::Clock::now() + kPatience;
  while (true) {
    auto line = child->read_line(deadline, interrupt);
    if (!line) return forward(line);
    if (!*line) break;
    const auto object = nlohmann::json::parse(**line, nullptr, false);
    if (!object.is_object() || object.value("/event"_json_pointer, nlohmann::json()) != "result") {
      continue;
    }
    const auto p50 = object.value("/latency_us/p50"_json_pointer, nlohmann::json());
    if (p50.is_number()) return p50.get<double>();
  }
  child->wait(deadline);
  const std::string complaint = child->last_complaint();
  return fail(complaint.empty() ? "the machine ended without a result" : complaint);
}

}  // namespace

double NotifyResult::median_us() const {
  std::vector<double> sorted = repeats_us;
  std::ranges::sort(sorted);
  return sorted.empty() ? 0 : sorted[(sorted.size() - 1) / 2];
}

Result<NotifyReport> run_notify_bench(const NotifyOptions& options, const EventFd& interrupt,
                                      const Progress& progress) {
  auto hypervisor = open_kvm();
  if (!hypervisor) return forward(hypervisor);
  const Places places = choose_places();
  auto bare = BareMachine::create(**hypervisor, places.vcpu, places.io);
  if (!bare) return forward(bare);
  NotifyReport report;
  report.kicks = options.kicks;
  const auto floor = [&](BareMachine::Kick kick) { return (*bare)->measure(kick, options.kicks); };
  const auto own = [&](NotifyMode mode) {
    return measure_bellhop(options, places, mode, interrupt);
  };
  struct Kind {
    NotifyResult& figure;
    std::function<Result<double>()> measure;
  };
  const std::array kinds{
      Kind{report.bare_exit, [&] { return floor(BareMachine::Kick::kExit); }},
      Kind{report.sync, [&] { return own(NotifyMode::kSync); }},
      Kind{report.bare_event, [&] { return floor(BareMachine::Kick::kEvent); }},
      Kind{report.bare_waited, [&] { return floor(BareMachine::Kick::kWaitedFor); }},
      Kind{report.ioeventfd, [&] { return own(NotifyMode::kIoEventFd); }},
  };
  std::size_t done = 0;
  for (unsigned repeat = 0; repeat < options.repeats; ++repeat) {
    for (const Kind& kind : kinds) {
      progress(++done, kinds.size() * options.repeats, kind.figure.name);
      const auto measured = kind.measure();
      if (!measured) return forward(measured);
      kind.figure.repeats_us.push_back(*measured);
    }
  }
  return report;
}

}  // namespace bellhop::bench
