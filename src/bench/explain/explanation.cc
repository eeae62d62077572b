#include "bench/explain/explanation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace bellhop::bench {

namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr int kSchema = 1;
constexpr std::array<const char*, kRequestPoints> kPoints = {
    "offered", "served", "taken", "submitted", "answered", "shown", "signalled", "seen"};
constexpr std::array<const char*, kRequestSteps> kMeanings = {
    "kick, and wake-up of the thread that serves",
    "requests before it are taken",
    "the rest of its batch is taken and checked",
    "back end and medium",
    "until it is in the used ring",
    "until the interrupt is asked for",
    "interrupt, and the guest's way to the answer"};

StepTimes in_microseconds(const Histogram& histogram, double hertz) {
  const double each = 1e6 / hertz;
  return {static_cast<double>(histogram.quantile(0.5)) * each,
          static_cast<double>(histogram.quantile(0.99)) * each,
          histogram.mean() * each,
          {}};
}

/// Of a step, microseconds for each request. Nothing if none of it was clocked.
std::optional<double> cpu_of(const StepCpu& cpu, std::size_t step) {
  const bool before_answer = step < static_cast<std::size_t>(RequestPoint::kSubmitted);
  const std::uint64_t requests = before_answer ? cpu.taken : cpu.answered;
  if (requests == 0 || cpu.ns[step] == 0) return std::nullopt;
  return std::max(0.0, static_cast<double>(cpu.ns[step]) / 1e3 / static_cast<double>(requests));
}

/// Three digits behind the point are nanoseconds: more is noise.
double rounded(double microseconds) { return std::round(microseconds * 1000) / 1000; }

ordered_json as_json(const StepTimes& step) {
  ordered_json object = ordered_json::object();
  if (step.known()) {
    object = {{"p50_us", rounded(step.p50)},
              {"p99_us", rounded(step.p99)},
              {"mean_us", rounded(step.mean)}};
  }
  if (step.cpu) object["cpu_us"] = rounded(*step.cpu);
  return object;
}

std::string step_key(std::size_t step) {
  return fmt::format("{}_to_{}", kPoints[step], kPoints[step + 1]);
}

ordered_json as_json(const RequestLine& line) {
  ordered_json array = ordered_json::array();
  for (const double at : line) {
    array.push_back(at < 0 ? ordered_json(nullptr) : ordered_json(rounded(at)));
  }
  return array;
}

// What a file says is taken if it is of the right kind, and else is 0.
constexpr double kMaxMicroseconds = 1e12;  // more than a week
constexpr std::size_t kMaxLines = 512;     // as RequestTrace keeps
double microseconds(const json& value) {
  return value.is_number() ? std::clamp(value.get<double>(), 0.0, kMaxMicroseconds) : 0;
}
double number(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() ? microseconds(*found) : 0;
}
std::optional<double> if_number(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number()) return std::nullopt;
  return microseconds(*found);
}
std::uint64_t count(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : 0;
}
std::string text(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}
StepTimes step_of(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_object()) return {};
  return {number(*found, "p50_us"), number(*found, "p99_us"), number(*found, "mean_us"),
          if_number(*found, "cpu_us")};
}

RequestLine line_of(const json& array) {
  RequestLine line;
  line.fill(-1);
  if (!array.is_array()) return line;
  for (std::size_t i = 0; i < std::min(array.size(), kRequestPoints); ++i) {
    if (array[i].is_number()) line[i] = microseconds(array[i]);
  }
  return line;
}

QueueExplanation queue_of(const json& object) {
  QueueExplanation queue;
  queue.device = text(object, "device");
  queue.queue = static_cast<unsigned>(count(object, "queue"));
  queue.notify = text(object, "notify");
  queue.requests = count(object, "requests");
  queue.by_driver = count(object, "by_driver");
  queue.disordered = count(object, "disordered");
  if (const auto steps = object.find("steps"); steps != object.end() && steps->is_object()) {
    for (std::size_t i = 0; i < kRequestSteps; ++i) {
      queue.steps[i] = step_of(*steps, step_key(i).c_str());
    }
  }
  queue.total = step_of(object, "total");
  queue.rest_cpu = if_number(object, "rest_cpu_us");
  if (const auto last = object.find("last"); last != object.end() && last->is_array()) {
    for (const json& line : *last) {
      if (queue.last.size() == kMaxLines) break;
      queue.last.push_back(line_of(line));
    }
  }
  return queue;
}

}  // namespace

const char* to_string(RequestPoint point) noexcept {
  return kPoints[static_cast<std::size_t>(point)];
}

const char* meaning(std::size_t step) noexcept { return kMeanings[step]; }

QueueExplanation explain(std::string device, unsigned queue, std::string notify, RequestTimes times,
                         double hertz) {
  QueueExplanation explanation;
  explanation.device = std::move(device);
  explanation.queue = queue;
  explanation.notify = std::move(notify);
  explanation.requests = times.requests;
  explanation.by_driver = times.by_driver;
  explanation.disordered = times.disordered;
  for (std::size_t i = 0; i < kRequestSteps; ++i) {
    explanation.steps[i] = in_microseconds(times.steps[i], hertz);
    explanation.steps[i].cpu = cpu_of(times.cpu, i);
  }
  explanation.total = in_microseconds(times.total, hertz);
  std::uint64_t first = UINT64_MAX;
  for (const RequestLife& life : times.last) {
    for (const std::uint64_t at : life.at) first = at == 0 ? first : std::min(first, at);
  }
  for (const RequestLife& life : times.last) {
    RequestLine& line = explanation.last.emplace_back();
    for (std::size_t i = 0; i < kRequestPoints; ++i) {
      line[i] = life.at[i] == 0 ? -1 : static_cast<double>(life.at[i] - first) * 1e6 / hertz;
    }
  }
  return explanation;
}

void share_thread(std::span<QueueExplanation* const> queues, double thread) {
  double requests = 0;
  double clocked = 0;
  for (const QueueExplanation* const queue : queues) {
    const auto weight = static_cast<double>(queue->requests);
    requests += weight;
    for (const StepTimes& step : std::span(queue->steps).subspan(1)) {
      clocked += step.cpu.value_or(0) * weight;
    }
  }
  if (requests == 0) return;
  const double part = clocked > thread ? thread / clocked : 1;
  for (QueueExplanation* const queue : queues) {
    for (StepTimes& step : queue->steps) {
      if (step.cpu) *step.cpu *= part;
    }
    queue->steps[0].cpu = std::max(0.0, thread - clocked) / requests;
  }
}

void share_rest(std::vector<QueueExplanation>& queues, double process) {
  double requests = 0;
  for (const QueueExplanation& queue : queues) {
    const auto weight = static_cast<double>(queue.requests);
    requests += weight;
    for (const StepTimes& step : queue.steps) process -= step.cpu.value_or(0) * weight;
  }
  if (requests == 0) return;
  for (QueueExplanation& queue : queues) queue.rest_cpu = std::max(0.0, process / requests);
}

std::string to_json(const std::vector<QueueExplanation>& queues) {
  ordered_json file = {{"schema", kSchema}, {"queues", ordered_json::array()}};
  for (const QueueExplanation& queue : queues) {
    ordered_json one = {{"device", queue.device},       {"queue", queue.queue},
                        {"notify", queue.notify},       {"requests", queue.requests},
                        {"by_driver", queue.by_driver}, {"disordered", queue.disordered}};
    one["steps"] = ordered_json::object();
    for (std::size_t i = 0; i < kRequestSteps; ++i) {
      if (queue.steps[i].known() || queue.steps[i].cpu)
        one["steps"][step_key(i)] = as_json(queue.steps[i]);
    }
    one["total"] = as_json(queue.total);
    if (queue.rest_cpu) one["rest_cpu_us"] = rounded(*queue.rest_cpu);
    one["last"] = ordered_json::array();
    for (const RequestLine& line : queue.last) one["last"].push_back(as_json(line));
    file["queues"].push_back(std::move(one));
  }
  return file.dump() + "\n";
}

Result<std::vector<QueueExplanation>> read_explanations(const std::string& text) {
  const json file = json::parse(text, nullptr, false);
  if (!file.is_object() || !file.contains("queues") || !file["queues"].is_array()) {
    return fail("not a file of `bellhop run --explain`");
  }
  if (count(file, "schema") != kSchema) {
    return fail(fmt::format("a file of another version of `bellhop run --explain` (schema {})",
                            count(file, "schema")));
  }
  std::vector<QueueExplanation> queues;
  for (const json& queue : file["queues"]) {
    if (queue.is_object()) queues.push_back(queue_of(queue));
  }
  return queues;
}

}  // namespace bellhop::bench
