#include "bench/net/net_results.h"

#include <algorithm>

#include "bench/harness/machine_command.h"
#include "bench/harness/measurement_json.h"

namespace bellhop::bench {

namespace {

using Json = nlohmann::ordered_json;

double ratio(double above, double below) noexcept { return below > 0 ? above / below : 0; }

constexpr std::pair<const char*, std::uint64_t NetMeasurement::*> kCounts[] = {
    {"datagrams", &NetMeasurement::datagrams},
    {"datagrams_sent", &NetMeasurement::datagrams_sent},
    {"lost", &NetMeasurement::lost},
    {"frames", &NetMeasurement::frames},
    {"retransmits", &NetMeasurement::retransmits},
};

Json run_to_json(const NetRun& run, const NetSetting& setting) {
  const NetCell& cell = run.cell;
  const NetMeasurement& m = run.median;
  const bool is_ping = cell.workload == NetWorkload::kPing;
  const bool is_tcp = cell.framing == Framing::kTcp;
  Json json = vmm_fields(setting.programs, cell.vmm);
  json.update(Json{
      {"guest", is_tcp ? "linux" : "bench"},
      {"vcpus", 1},
      {"device", "net"},
      {"transport", to_string(setting.transport)},
      {"ring", "split"},
      {"queues", 1},
      {"workload", to_string(cell.workload)},
      {"threads", 1},
      {"block_bytes", nullptr},
      {"direction", is_ping ? Json(nullptr) : Json(to_string(cell.direction))},
      {"message_bytes", cell.message_bytes},
      {"backend", "tap"},
      {"cache", nullptr},
      {"medium", nullptr},
      {"notify", to_string(cell.notify)},
      {"optimize", cell.notify == NetNotify::kAdaptive ? Json("throughput") : Json(nullptr)},
      {"placement", to_string(cell.placement)},
  });
  add_run(json, run);
  const Json end_cpus =
      setting.end_cpus.empty() ? Json(nullptr) : Json(format_cpu_list(setting.end_cpus));
  if (is_tcp) {
    json["net"] = {{"protocol", "tcp"},
                   {"retransmits", m.retransmits},
                   {"host_end_cpu_s", m.end_cpu_s},
                   {"host_end_cpus", end_cpus}};
    json["verified"] = false;  // iperf3 does not look at what it receives
    return json;
  }
  json["net"] = {{"framing", to_string(cell.framing)},
                 {"datagram_bytes", datagram_bytes(cell.framing)},
                 {"offload", m.offload},
                 {"gro", cell.vmm.is_qemu() ? Json(nullptr) : Json(cell.trains == Trains::kOn)},
                 {"datagrams", m.datagrams},
                 {"datagrams_per_s", m.datagrams_per_s()},
                 {"datagrams_sent", m.datagrams_sent},
                 {"lost", m.lost},
                 {"frames", m.frames},
                 {"host_end_cpu_s", m.end_cpu_s},
                 {"host_end_cpus", end_cpus}};
  json["verified"] = true;
  return json;
}

std::vector<Json> runs_of(const NetReport& report) {
  std::vector<Json> runs;
  runs.reserve(report.runs.size());
  for (const NetRun& run : report.runs) runs.push_back(run_to_json(run, report.setting));
  return runs;
}

}  // namespace

double NetMeasurement::datagrams_per_s() const noexcept {
  return ratio(static_cast<double>(datagrams), seconds);
}

double NetMeasurement::lost_share() const noexcept {
  return ratio(static_cast<double>(lost), static_cast<double>(datagrams_sent));
}

const NetRun* NetReport::find(const NetCell& cell) const {
  const auto found = std::ranges::find(runs, cell, &NetRun::cell);
  return found == runs.end() ? nullptr : &*found;
}

Json to_json(const NetMeasurement& repeat) {
  Json json = to_json(static_cast<const Measurement&>(repeat));
  Json& net = json["net"];
  net["offload"] = repeat.offload;
  for (const auto& [name, count] : kCounts) net[name] = repeat.*count;
  net["host_end_cpu_s"] = repeat.end_cpu_s;
  return json;
}

Status from_json(const Json& json, NetMeasurement& repeat) {
  if (auto read = from_json(json, static_cast<Measurement&>(repeat)); !read) return read;
  const auto wrong = [](const char* name) {
    return fail(std::string("a repeat's 'net.") + name + "' is missing or wrong");
  };
  const auto net = json.find("net");
  if (net == json.end() || !net->is_object()) return wrong("*");
  for (const auto& [name, count] : kCounts) {
    const auto found = net->find(name);
    if (found == net->end() || !found->is_number_unsigned()) return wrong(name);
    repeat.*count = found->get<std::uint64_t>();
  }
  const auto offload = net->find("offload");
  if (offload == net->end() || !offload->is_boolean()) return wrong("offload");
  repeat.offload = offload->get<bool>();
  const auto end_cpu_s = net->find("host_end_cpu_s");
  if (end_cpu_s == net->end() || !end_cpu_s->is_number()) return wrong("host_end_cpu_s");
  repeat.end_cpu_s = end_cpu_s->get<double>();
  return {};
}

Json to_json(const NetReport& report) {
  return report_to_json(report, runs_of(report), compare_runs(report));
}

std::string to_csv(const NetReport& report) { return runs_to_csv(runs_of(report)); }

}  // namespace bellhop::bench
