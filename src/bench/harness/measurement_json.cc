#include "bench/harness/measurement_json.h"

#include <fmt/format.h>

namespace bellhop::bench {

namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kAllRepeats = "all_repeats";
constexpr const char* kRejectedRepeats = "rejected_repeats";

template <class Value>
Json or_null(const std::optional<Value>& value) {
  return value ? Json(*value) : Json(nullptr);
}

void put(Json& json, const char* name, double value) { json[name] = value; }
void put(Json& json, const char* name, std::uint64_t value) { json[name] = value; }
template <class Value>
void put(Json& json, const char* name, const std::optional<Value>& value) {
  json[name] = or_null(value);
}

/// Names joined with dots, and the values under them.
void flatten(const Json& json, const std::string& name,
             std::vector<std::pair<std::string, Json>>& out) {
  if (json.is_object()) {
    for (const auto& [key, value] : json.items()) {
      if (key == kAllRepeats || key == kRejectedRepeats) continue;
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

/// Reads the fields of an object, and keeps the first that is wrong.
class Fields {
 public:
  explicit Fields(const Json& json) : json_(json) {}

  void read(const char* name, double& out) {
    const Json* const value = find(name);
    if (value == nullptr) return;
    if (!value->is_number()) return fault(name);
    out = value->get<double>();
    if (!(out >= 0)) fault(name);
  }
  void read(const char* name, std::uint64_t& out) {
    const Json* const value = find(name);
    if (value == nullptr) return;
    if (!value->is_number_unsigned()) return fault(name);
    out = value->get<std::uint64_t>();
  }
  void read(const char* name, bool& out) {
    const Json* const value = find(name);
    if (value == nullptr) return;
    if (!value->is_boolean()) return fault(name);
    out = value->get<bool>();
  }
  template <class Value>
  void read(const char* name, std::optional<Value>& out) {
    const Json* const value = find(name);
    if (value == nullptr || value->is_null()) return;
    read(name, out.emplace());
  }
  [[nodiscard]] const Json& object(const char* name) {
    const Json* const value = find(name);
    if (value != nullptr && value->is_object()) return *value;
    if (value != nullptr) fault(name);
    return kNothing;
  }
  void take(Fields other) {
    if (fault_.empty()) fault_ = std::move(other.fault_);
  }
  [[nodiscard]] Status status() const {
    if (fault_.empty()) return {};
    return fail(fmt::format("a repeat's '{}' is missing or wrong", fault_));
  }

 private:
  static inline const Json kNothing = Json::object();

  const Json* find(const char* name) {
    if (!fault_.empty()) return nullptr;
    const auto found = json_.is_object() ? json_.find(name) : json_.end();
    if (!json_.is_object() || found == json_.end()) {
      fault(name);
      return nullptr;
    }
    return &*found;
  }
  void fault(const char* name) {
    if (fault_.empty()) fault_ = name;
  }

  const Json& json_;
  std::string fault_;
};

/// The members of a repeat, in the order in which they stand in files. `fields(name, member)` is
/// called for each.
template <class M, class Each>
void for_each_field(M& m, const Each& each) {
  each("seconds", m.seconds);
  each("operations", m.operations);
  each("bytes", m.bytes);
  each("host_cpu_s", m.host_cpu_s);
  each("vcpu_cpu_s", m.vcpu_cpu_s);
  each("io_cpu_s", m.io_cpu_s);
  each("io_system_s", m.io_system_s);
  each("vcpu_run_delay_s", m.vcpu_run_delay_s);
  each("io_run_delay_s", m.io_run_delay_s);
  each("steal_s", m.steal_s);
}
template <class L, class Each>
void for_each_latency(L& latency, const Each& each) {
  each("p50", latency.p50);
  each("p99", latency.p99);
  each("p999", latency.p999);
  each("max", latency.max);
}
template <class C, class Each>
void for_each_counter(C& counters, const Each& each) {
  each("userspace_exits", counters.userspace_exits);
  each("kicks", counters.kicks);
  each("spurious_kicks", counters.spurious_kicks);
  each("interrupts", counters.interrupts);
  each("context_switches", counters.context_switches);
  each("wakeups_other_core", counters.wakeups_other_core);
  each("system_calls", counters.system_calls);
}

Json latency_and_counters(const Measurement& m) {
  Json json;
  for_each_latency(m.latency,
                   [&json](const char* name, double value) { json["latency_us"][name] = value; });
  for_each_counter(m.counters, [&json](const char* name, const auto& value) {
    json["counters"][name] = or_null(value);
  });
  return json;
}

}  // namespace

Json to_json(const Ratio& ratio) {
  using Verdict = Ratio::Verdict;
  const bool none = ratio.verdict == Verdict::kNone || ratio.verdict == Verdict::kRefused;
  return {{"ratio", none ? Json(nullptr) : Json(ratio.value)},
          {"interval",
           ratio.interval ? Json{ratio.interval->low, ratio.interval->high} : Json(nullptr)},
          {"verdict", to_string(ratio.verdict)}};
}

Json to_json(const Measurement& repeat) {
  Json json{{"mb_per_s", repeat.mb_per_s()},
            {"bytes_per_host_cpu_s", repeat.bytes_per_host_cpu_s()},
            {"disturbed", repeat.disturbed}};
  for_each_field(repeat, [&json](const char* name, const auto& value) { put(json, name, value); });
  json.update(latency_and_counters(repeat));
  return json;
}

Status from_json(const Json& json, Measurement& repeat) {
  Fields fields(json);
  const auto read_from = [](Fields& from) {
    return [&from](const char* name, auto& value) { from.read(name, value); };
  };
  for_each_field(repeat, read_from(fields));
  fields.read("disturbed", repeat.disturbed);
  Fields latency(fields.object("latency_us"));
  for_each_latency(repeat.latency, read_from(latency));
  Fields counters(fields.object("counters"));
  for_each_counter(repeat.counters, read_from(counters));
  fields.take(std::move(latency));
  fields.take(std::move(counters));
  return fields.status();
}

void add_figures(Json& run, const Measurement& m, const Sample& throughput,
                 const Sample& efficiency) {
  const bool single = throughput.values.size() < 2;
  run["repeat"] = throughput.values.size();
  run["mb_per_s"] = throughput.median();
  run["spread"] = single ? Json{nullptr, nullptr} : Json{throughput.least(), throughput.most()};
  run["bytes_per_host_cpu_s"] = efficiency.median();
  run["iops"] = m.iops();
  for_each_field(m, [&run](const char* name, const auto& value) { put(run, name, value); });
  run["run_delay_s"] = or_null(m.run_delay_s());
  run.update(latency_and_counters(m));
  const auto peaks = find_two_peaks(throughput.values);
  run["two_peaks"] = peaks ? Json{peaks->low, peaks->high} : Json{nullptr, nullptr};
}

Json report_to_json(const ReportBase& report, std::vector<Json> runs,
                    const std::vector<Comparison>& comparisons) {
  Json json;
  json["schema"] = kSchema;
  json["date"] = report.date;
  json["command"] = report.command;
  json["options"] = report.options;
  json["seed"] = report.comparing.seed;
  json["complete"] = !report.interrupted;
  json["host"] = report.host;
  json["load"] = to_json(report.load);
  json["floors"] = report.floors;
  json["runs"] = std::move(runs);
  json["comparisons"] = Json::array();
  for (const Comparison& one : comparisons) {
    json["comparisons"].push_back({{"cell", one.cell},
                                   {"base", one.base},
                                   {"mb_per_s", to_json(one.throughput)},
                                   {"bytes_per_host_cpu_s", to_json(one.efficiency)}});
  }
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
