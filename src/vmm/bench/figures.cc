#include "vmm/bench/figures.h"

#include <fmt/format.h>

#include <algorithm>

namespace bellhop::bench {

namespace {

using Json = nlohmann::ordered_json;

constexpr int kSchema = 1;

double ratio(double above, double below) noexcept { return below > 0 ? above / below : 0; }

Json or_null(const std::optional<std::uint64_t>& count) {
  return count ? Json(*count) : Json(nullptr);
}

Json run_to_json(const Run& run, const BlkSetting& setting) {
  const BlkCell& cell = run.cell;
  const Measurement& m = run.median;
  const bool is_qemu = cell.vmm == Vmm::kQemu;
  return Json{
      {"vmm", to_string(cell.vmm)},
      {"vmm_version", is_qemu ? setting.qemu_version : setting.bellhop_version},
      {"guest", cell.vmm == Vmm::kInprocess ? "driver in this process" : "bench"},
      {"vcpus", cell.vcpus},
      {"device", "blk"},
      {"transport", cell.vmm == Vmm::kInprocess                ? Json(nullptr)
                    : setting.transport == TransportKind::kPci ? Json("pci")
                                                               : Json("mmio")},
      {"ring", "split"},
      {"queues", cell.vcpus},
      {"workload", to_string(cell.workload)},
      {"threads", cell.threads},
      {"block_bytes", setting.block_bytes},
      {"direction", nullptr},
      {"message_bytes", nullptr},
      {"backend", to_string(setting.aio)},
      {"cache", to_string(setting.cache)},
      {"medium", setting.medium},
      {"notify", bellhop::to_string(cell.notify)},
      {"placement", to_string(cell.placement)},
      {"repeat", run.repeats},
      {"seconds", m.seconds},
      {"operations", m.operations},
      {"bytes", m.bytes},
      {"mb_per_s", m.mb_per_s()},
      {"spread", {run.least_mb_per_s, run.most_mb_per_s}},
      {"iops", m.iops()},
      {"host_cpu_s", m.host_cpu_s},
      {"vcpu_cpu_s", m.vcpu_cpu_s},
      {"io_cpu_s", m.io_cpu_s},
      {"bytes_per_host_cpu_s", m.bytes_per_host_cpu_s()},
      {"latency_us",
       {{"p50", m.latency.p50},
        {"p99", m.latency.p99},
        {"p999", m.latency.p999},
        {"max", m.latency.max}}},
      {"counters",
       {{"userspace_exits", or_null(m.counters.userspace_exits)},
        {"kicks", or_null(m.counters.kicks)},
        {"kicks_in_vain", or_null(m.counters.kicks_in_vain)},
        {"interrupts", or_null(m.counters.interrupts)},
        {"context_switches", or_null(m.counters.context_switches)},
        {"wakeups_other_core", or_null(m.counters.wakeups_other_core)},
        {"system_calls", or_null(m.counters.system_calls)}}},
      {"verified", true},
  };
}

/// Names joined with dots, and the values under them.
void flatten(const Json& json, const std::string& name,
             std::vector<std::pair<std::string, Json>>& out) {
  if (json.is_object()) {
    for (const auto& [key, value] : json.items()) {
      flatten(value, name.empty() ? key : name + "." + key, out);
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

Run summarise(const BlkCell& cell, std::vector<Measurement> measurements) {
  std::ranges::sort(measurements, {}, &Measurement::mb_per_s);
  Run run;
  run.cell = cell;
  run.repeats = static_cast<unsigned>(measurements.size());
  run.median = measurements[(measurements.size() - 1) / 2];
  run.least_mb_per_s = measurements.front().mb_per_s();
  run.most_mb_per_s = measurements.back().mb_per_s();
  return run;
}

const Run* BlkReport::find(const BlkCell& cell) const {
  const auto found = std::ranges::find(runs, cell, &Run::cell);
  return found == runs.end() ? nullptr : &*found;
}

bool BlkReport::has_failures() const { return std::ranges::any_of(not_run, &NotRun::failed); }

nlohmann::ordered_json to_json(const BlkReport& report) {
  Json json;
  json["schema"] = kSchema;
  json["host"] = report.host;
  json["floors"] = report.floors;
  json["runs"] = Json::array();
  for (const Run& run : report.runs) json["runs"].push_back(run_to_json(run, report.setting));
  json["not_run"] = Json::array();
  for (const NotRun& cell : report.not_run) {
    json["not_run"].push_back(
        {{"cell", cell.cell}, {"reason", cell.reason}, {"failed", cell.failed}});
  }
  return json;
}

std::string to_csv(const BlkReport& report) {
  std::string text;
  for (const Run& run : report.runs) {
    std::vector<std::pair<std::string, Json>> fields;
    flatten(run_to_json(run, report.setting), "", fields);
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
