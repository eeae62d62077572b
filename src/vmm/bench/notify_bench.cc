#include "vmm/bench/notify_bench.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/cpu_list.h"
#include "hypervisor/hypervisor.h"
#include "virtio/notify_mode.h"
#include "vmm/bench/bare_machine.h"
#include "vmm/bench/child.h"
#include "vmm/bench/table.h"

namespace bellhop::bench {

namespace {

using Json = nlohmann::ordered_json;

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

std::string microseconds(double value) { return fmt::format("{:.2f}", value); }

double least(const NotifyFigure& figure) { return *std::ranges::min_element(figure.repeats_us); }
double most(const NotifyFigure& figure) { return *std::ranges::max_element(figure.repeats_us); }

double ratio(const NotifyFigure& figure, const NotifyFigure& floor) {
  return floor.median_us() > 0 ? figure.median_us() / floor.median_us() : 0;
}

Json figure_json(const NotifyFigure& figure) {
  return {{"median_us", figure.median_us()}, {"spread_us", {least(figure), most(figure)}}};
}

}  // namespace

double NotifyFigure::median_us() const {
  std::vector<double> sorted = repeats_us;
  std::ranges::sort(sorted);
  return sorted.empty() ? 0 : sorted[(sorted.size() - 1) / 2];
}

Result<NotifyReport> run_notify_bench(const NotifyOptions& options, const EventFd& interrupt) {
  auto hypervisor = open_kvm();
  if (!hypervisor) return forward(hypervisor);
  const Places places = choose_places();
  auto bare = BareMachine::create(**hypervisor, places.vcpu, places.io);
  if (!bare) return forward(bare);
  NotifyReport report;
  for (unsigned repeat = 0; repeat < options.repeats; ++repeat) {
    const auto take = [](NotifyFigure& figure, const Result<double>& measured) -> Status {
      if (!measured) return forward(measured);
      figure.repeats_us.push_back(*measured);
      return {};
    };
    const auto floor = [&](BareMachine::Kick kick) {
      return (*bare)->measure(kick, options.kicks);
    };
    const auto own = [&](NotifyMode mode) {
      return measure_bellhop(options, places, mode, interrupt);
    };
    for (const Status& status : {take(report.bare_exit, floor(BareMachine::Kick::kExit)),
                                 take(report.sync, own(NotifyMode::kSync)),
                                 take(report.bare_event, floor(BareMachine::Kick::kEvent)),
                                 take(report.bare_waited, floor(BareMachine::Kick::kWaitedFor)),
                                 take(report.ioeventfd, own(NotifyMode::kIoEventFd))}) {
      if (!status) return forward(status);
    }
  }
  return report;
}

std::string to_text(const NotifyReport& report) {
  Table table;
  table.caption = fmt::format(
      "One notification of an empty queue, as the guest sees it: median of "
      "{} repeats, each a median over its kicks",
      report.bare_exit.repeats_us.size());
  table.columns = {{"", "notification", true},   {"microseconds", "median"},
                   {"microseconds", "least"},    {"microseconds", "most"},
                   {"times the floor", "ratio"}, {"", "what it is", true}};
  const auto row = [&table](const NotifyFigure& figure, const NotifyFigure* floor) {
    table.rows.push_back({figure.name, microseconds(figure.median_us()),
                          microseconds(least(figure)), microseconds(most(figure)),
                          floor == nullptr ? "" : fmt::format("{:.2f}", ratio(figure, *floor)),
                          figure.meaning});
  };
  row(report.bare_exit, nullptr);
  row(report.sync, &report.bare_exit);
  row(report.bare_event, nullptr);
  row(report.bare_waited, &report.bare_event);
  row(report.ioeventfd, &report.bare_event);
  return to_text(table);
}

Json to_json(const NotifyReport& report) {
  Json sync = figure_json(report.sync);
  sync["times_floor"] = ratio(report.sync, report.bare_exit);
  Json event = figure_json(report.ioeventfd);
  event["times_floor"] = ratio(report.ioeventfd, report.bare_event);
  event["times_waited_floor"] = ratio(report.ioeventfd, report.bare_waited);
  return {{"notify",
           {{"repeat", report.bare_exit.repeats_us.size()},
            {"bare_exit", figure_json(report.bare_exit)},
            {"bare_ioeventfd", figure_json(report.bare_event)},
            {"bare_ioeventfd_waited_for", figure_json(report.bare_waited)},
            {"bellhop_sync", std::move(sync)},
            {"bellhop_ioeventfd", std::move(event)}}}};
}

}  // namespace bellhop::bench
