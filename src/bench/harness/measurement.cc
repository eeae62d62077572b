#include "bench/harness/measurement.h"

#include <fmt/format.h>

namespace bellhop::bench {

namespace {

using Json = nlohmann::ordered_json;

constexpr int kSchema = 1;
constexpr const char* kAllRepeats = "all_repeats";

double ratio(double above, double below) noexcept { return below > 0 ? above / below : 0; }

template <class Value>
Json or_null(const std::optional<Value>& value) {
  return value ? Json(*value) : Json(nullptr);
}

/// Names joined with dots, and the values under them.
void flatten(const Json& json, const std::string& name,
             std::vector<std::pair<std::string, Json>>& out) {
  if (json.is_object()) {
    for (const auto& [key, value] : json.items()) {
      if (key == kAllRepeats) continue;
      flatten(value, name.empty() ? key : fmt::format("{}.{}", name, key), out);
    }
  } else if (json.is_array()) {  // the spread
    for (std::size_t i = 0; i < json.size(); ++i) {
      flatten(json[i], fmt::format("{}.{}", name, i == 0 ? "min" : "max"), out);
    }
  } else {
    out.emplace_back(name, json);
  }
}

std::string csv_field(const Json& value) {
  if (value.is_null()) return "";
  std::string text = value.is_string() ? value.get<std::string>() : value.dump();
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

}  // namespace

double Measurement::mb_per_s() const noexcept {
  return ratio(static_cast<double>(bytes) * 1e-6, seconds);
}
double Measurement::iops() const noexcept {
  return ratio(static_cast<double>(operations), seconds);
}
double Measurement::bytes_per_host_cpu_s() const noexcept {
  return ratio(static_cast<double>(bytes), host_cpu_s);
}

bool ReportBase::has_failures() const { return std::ranges::any_of(not_run, &NotRun::failed); }

std::string not_run_text(const ReportBase& report) {
  if (report.not_run.empty()) return "";
  std::string text = "Not run:\n";
  for (const NotRun& cell : report.not_run) text += "  " + cell.cell + ": " + cell.reason + "\n";
  return text;
}

void add_measurement(Json& run, const Measurement& m, unsigned repeats, double least_mb_per_s,
                     double most_mb_per_s, double bytes_per_host_cpu_s) {
  run["repeat"] = repeats;
  run["seconds"] = m.seconds;
  run["operations"] = m.operations;
  run["bytes"] = m.bytes;
  run["mb_per_s"] = m.mb_per_s();
  run["spread"] = repeats > 1 ? Json{least_mb_per_s, most_mb_per_s} : Json{nullptr, nullptr};
  run["iops"] = m.iops();
  run["host_cpu_s"] = m.host_cpu_s;
  run["vcpu_cpu_s"] = m.vcpu_cpu_s;
  run["io_cpu_s"] = m.io_cpu_s;
  run["io_system_s"] = or_null(m.io_system_s);
  run["run_delay_s"] = or_null(m.run_delay_s);
  run["steal_s"] = or_null(m.steal_s);
  run["bytes_per_host_cpu_s"] = bytes_per_host_cpu_s;
  run["latency_us"] = {{"p50", m.latency.p50},
                       {"p99", m.latency.p99},
                       {"p999", m.latency.p999},
                       {"max", m.latency.max}};
  run["counters"] = {{"userspace_exits", or_null(m.counters.userspace_exits)},
                     {"kicks", or_null(m.counters.kicks)},
                     {"spurious_kicks", or_null(m.counters.spurious_kicks)},
                     {"interrupts", or_null(m.counters.interrupts)},
                     {"context_switches", or_null(m.counters.context_switches)},
                     {"wakeups_other_core", or_null(m.counters.wakeups_other_core)},
                     {"system_calls", or_null(m.counters.system_calls)}};
}

void add_repeat(Json& run, const Measurement& repeat) {
  run[kAllRepeats].push_back({{"mb_per_s", repeat.mb_per_s()},
                              {"bytes_per_host_cpu_s", repeat.bytes_per_host_cpu_s()},
                              {"run_delay_s", or_null(repeat.run_delay_s)},
                              {"steal_s", or_null(repeat.steal_s)},
                              {"disturbed", repeat.disturbed}});
}

Json report_to_json(const ReportBase& report, std::vector<Json> runs) {
  Json json;
  json["schema"] = kSchema;
  json["host"] = report.host;
  json["floors"] = report.floors;
  json["runs"] = std::move(runs);
  json["not_run"] = Json::array();
  for (const NotRun& cell : report.not_run) {
    json["not_run"].push_back(
        {{"cell", cell.cell}, {"reason", cell.reason}, {"failed", cell.failed}});
  }
  return json;
}

std::string runs_to_csv(const std::vector<Json>& runs) {
  std::string text;
  for (const Json& run : runs) {
    std::vector<std::pair<std::string, Json>> fields;
    flatten(run, "", fields);
    std::string names;
    std::string values;
    for (const auto& [name, value] : fields) {
      names += (names.empty() ? "" : ",") + name;
      values += (values.empty() ? "" : ",") + csv_field(value);
    }
    if (text.empty()) text = names + "\n";
    text += values + "\n";
  }
  return text;
}

}  // namespace bellhop::bench
