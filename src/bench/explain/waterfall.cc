#include "bench/explain/waterfall.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace bellhop::bench {

namespace {

constexpr std::size_t kBarColumns = 20;

/// Of known steps: the mean request from its first known point to its last.
double whole(const QueueExplanation& queue) {
  double sum = 0;
  for (const StepTimes& step : queue.steps) sum += step.mean;
  return sum;
}

/// Of the queue's own threads.
double cpu_of_steps(const QueueExplanation& queue) {
  double sum = 0;
  for (const StepTimes& step : queue.steps) sum += step.cpu.value_or(0);
  return sum;
}

/// "1234", "12.3", "0.12": three digits.
std::string short_number(double value) {
  if (value >= 99.95) return fmt::format("{:.0f}", value);
  return value >= 9.995 ? fmt::format("{:.1f}", value) : fmt::format("{:.2f}", value);
}

std::string short_number(const std::optional<double>& value) {
  return value ? short_number(*value) : "–";
}

/// A line of the table, without its bar.
std::string line(const std::string& name, const StepTimes& step, const std::string& part) {
  const auto time = [&step](double value) { return step.known() ? short_number(value) : "–"; };
  return fmt::format("{:<21}{:>8}{:>8}{:>8}{:>5}{:>8}", name, time(step.p50), time(step.p99),
                     time(step.mean), part, short_number(step.cpu));
}

/// A bar from `begin` to `end`, which are parts of the whole: at least one column.
std::string bar(double begin, double end) {
  const auto column = [](double part) {
    return static_cast<std::size_t>(std::lround(part * static_cast<double>(kBarColumns)));
  };
  const std::size_t from = std::min(column(begin), kBarColumns - 1);
  const std::size_t to = std::clamp(column(end), from + 1, kBarColumns);
  std::string text(from, ' ');
  for (std::size_t i = from; i < to; ++i) text += "█";
  return text;
}

std::string step_name(std::size_t step) {
  return fmt::format("{} → {}", to_string(static_cast<RequestPoint>(step)),
                     to_string(static_cast<RequestPoint>(step + 1)));
}

/// ";\n61 % of the CPU time (3.1 µs a request) goes to: back end and medium"
std::string dominating_cpu(const QueueExplanation& queue) {
  const double all = cpu_of_steps(queue) + queue.rest_cpu.value_or(0);
  if (all <= 0) return "";
  const auto most = std::ranges::max_element(queue.steps, {}, &StepTimes::cpu);
  const bool rest = queue.rest_cpu > most->cpu;
  const auto step = static_cast<std::size_t>(most - queue.steps.begin());
  return fmt::format(";\n{:.0f} % of the CPU time ({} µs a request) goes to: {}",
                     (rest ? *queue.rest_cpu : *most->cpu) / all * 100, short_number(all),
                     rest ? "the guest and its exits" : meaning(step));
}

}  // namespace

std::string dominating(const QueueExplanation& queue) {
  const double all = whole(queue);
  if (all <= 0) return "No request was seen from its begin to its end.";
  const auto longest = std::ranges::max_element(queue.steps, {}, &StepTimes::mean);
  const auto step = static_cast<std::size_t>(longest - queue.steps.begin());
  return fmt::format("{:.0f} % of the time goes by from {} to {}: {}{}.", longest->mean / all * 100,
                     to_string(static_cast<RequestPoint>(step)),
                     to_string(static_cast<RequestPoint>(step + 1)), meaning(step),
                     dominating_cpu(queue));
}

std::string waterfall(const QueueExplanation& queue) {
  std::string text = fmt::format("{}, queue {}: {} requests, notify={}\n", queue.device,
                                 queue.queue, queue.requests, queue.notify);
  if (queue.by_driver == 0) {
    text += "The driver does not say when it offers and sees requests: from served to signalled.\n";
  }
  if (queue.disordered > 0) {
    text += fmt::format(
        "Of {} requests the driver's clock cannot be right: from served to signalled.\n",
        queue.disordered);
  }
  text += fmt::format("{:<21}{:>8}{:>8}{:>8}{:>5}{:>8}\n", "step (µs)", "median", "p99", "mean",
                      "%", "CPU");
  const double all = whole(queue);
  double before = 0;
  for (std::size_t i = 0; i < kRequestSteps; ++i) {
    const StepTimes& step = queue.steps[i];
    const bool timed = step.known() && all > 0;
    if (!timed && !step.cpu) continue;
    text += line(step_name(i), step, timed ? fmt::format("{:.0f}", step.mean / all * 100) : "");
    if (timed) text += "  " + bar(before / all, (before + step.mean) / all);
    text += "\n";
    before += step.mean;
  }
  if (queue.rest_cpu) {
    StepTimes rest;
    rest.cpu = queue.rest_cpu;
    text += line("the guest, and others", rest, "") + "\n";
  }
  StepTimes total = queue.total;
  const double cpu = cpu_of_steps(queue) + queue.rest_cpu.value_or(0);
  if (cpu > 0) total.cpu = cpu;
  return text + line("whole", total, "") + "\n" + dominating(queue) + "\n";
}

std::string timeline(const std::vector<QueueExplanation>& queues) {
  using nlohmann::ordered_json;
  ordered_json events = ordered_json::array();
  for (std::size_t process = 0; process < queues.size(); ++process) {
    const QueueExplanation& queue = queues[process];
    events.push_back({{"ph", "M"},
                      {"pid", process},
                      {"name", "process_name"},
                      {"args", {{"name", fmt::format("{} queue {}", queue.device, queue.queue)}}}});
    std::vector<double> rows;  // each is taken until then
    for (const RequestLine& line : queue.last) {
      const auto first = std::ranges::find_if(line, [](double at) { return at >= 0; });
      if (first == line.end()) continue;
      auto row = std::ranges::find_if(rows, [&](double until) { return until <= *first; });
      if (row == rows.end()) row = rows.insert(row, 0);
      std::size_t from = static_cast<std::size_t>(first - line.begin());
      for (std::size_t i = from + 1; i < kRequestPoints; ++i) {
        if (line[i] < 0) continue;
        events.push_back(
            {{"ph", "X"},
             {"pid", process},
             {"tid", row - rows.begin()},
             {"name", fmt::format("{} to {}", to_string(static_cast<RequestPoint>(from)),
                                  to_string(static_cast<RequestPoint>(i)))},
             {"ts", line[from]},
             {"dur", line[i] - line[from]}});
        *row = line[i];
        from = i;
      }
    }
  }
  const ordered_json file = {{"traceEvents", std::move(events)}, {"displayTimeUnit", "ns"}};
  return file.dump() + "\n";
}

}  // namespace bellhop::bench
