#include "bench/notify/notify_bench.h"

#include <fmt/format.h>

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

Status run_notify_bench(const NotifyOptions& options, const EventFd& interrupt,
                        const SweepHooks& hooks, NotifyReport& report) {
  auto hypervisor = open_kvm();
  if (!hypervisor) return forward(hypervisor);
  const Places places = choose_places();
  auto bare = BareMachine::create(**hypervisor, places.vcpu, places.io);
  if (!bare) return forward(bare);
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
  const std::size_t all = kinds.size() * options.repeats;
  hooks.begin({kinds.size(), 0, all, all, 0});
  std::size_t done = 0;
  for (unsigned round = 0; round < options.repeats; ++round) {
    std::array<double, kinds.size()> figures{};
    for (const std::size_t index : shuffled(kinds.size(), report.comparing.seed + round)) {
      hooks.progress(++done, all, kinds.at(index).figure.name);
      const auto measured = kinds.at(index).measure();
      if (!measured && measured.error().code == kEndedByUser) {
        report.interrupted = true;
        return {};
      }
      if (!measured) return forward(measured);
      figures.at(index) = *measured;
    }
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      kinds.at(i).figure.repeats_us.push_back(figures.at(i));
    }
  }
  return {};
}

}  // namespace bellhop::bench
