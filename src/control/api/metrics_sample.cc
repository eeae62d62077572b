#include "control/api/metrics_sample.h"

#include <array>
#include <nlohmann/json.hpp>

#include "base/printable.h"
#include "base/shallow_json.h"

namespace bellhop::control {

namespace {

constexpr std::array kBytes = {"read_bytes", "write_bytes", "rx_bytes", "tx_bytes"};
constexpr std::array kColumns = {"kicks", "spurious_kicks", "completions", "interrupts", "batches"};

std::string text_in(const nlohmann::json& json, const char* name) {
  return printable(json.at(name).get<std::string>());
}

/// Throws as at() does if it is no whole number of 0 or more.
std::uint64_t number(const nlohmann::json& value) {
  return value.get_ref<const nlohmann::json::number_unsigned_t&>();
}

MetricsSample::Queue read_queue(const nlohmann::json& json) {
  MetricsSample::Queue queue{.device = text_in(json, "device"),
                             .queue = number(json.at("queue")),
                             .running = json.at("running"),
                             .server = text_in(json, "server"),
                             .notify = text_in(json, "notify"),
                             .counts = {}};
  if (json.contains("optimize")) queue.optimize = text_in(json, "optimize");
  for (const char* const name : kColumns) queue.counts[name] = number(json.at(name));
  return queue;
}

}  // namespace

std::optional<MetricsSample> MetricsSample::read(std::string_view text) {
  const auto json = parse_shallow_json(text);
  try {
    MetricsSample sample;
    sample.state = text_in(json, "state");
    sample.time_ns = number(json.at("time_ns"));
    sample.memory_bytes = number(json.at("memory_actual_size"));
    for (const auto& [id, stats] : json.at("counters").items()) {
      std::uint64_t bytes = 0;
      bool has_some = false;
      for (const char* const name : kBytes) {
        const auto stat = stats.find(name);
        if (stat == stats.end()) continue;
        bytes += number(*stat);
        has_some = true;
      }
      if (has_some) sample.device_bytes.emplace_back(printable(id), bytes);
    }
    for (const auto& queue : json.at("queues")) sample.queues.push_back(read_queue(queue));
    for (const auto& thread : json.at("threads")) {
      sample.threads.push_back({.name = text_in(thread, "name"),
                                .tid = number(thread.at("tid")),
                                .cpu_ns = number(thread.at("cpu_ns"))});
    }
    return sample;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

}  // namespace bellhop::control
