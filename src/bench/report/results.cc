#include "bench/report/results.h"

#include <algorithm>

#include "bench/harness/machine_command.h"
#include "bench/harness/measurement_json.h"

namespace bellhop::bench {

using Json = nlohmann::ordered_json;

Json cell_fields(const BlkCell& cell, const BlkSetting& setting) {
  const bool without_vm = setting.served || cell.vmm == Vmm::kInprocess;
  Json json = vmm_fields(setting.programs, cell.vmm);
  json.update(Json{
      {"guest", without_vm ? "driver in this process" : "bench"},
      {"vcpus", cell.vcpus},
      {"device", "blk"},
      {"transport", setting.served ? Json("vhost-user")
                    : without_vm   ? Json(nullptr)
                                   : Json(to_string(setting.transport))},
      {"ring", to_string(cell.ring)},
      {"queues", std::max(1U, cell.vcpus)},
      {"workload", to_string(cell.workload)},
      {"threads", cell.threads},
      {"block_bytes", setting.block_bytes},
      {"direction", nullptr},
      {"message_bytes", nullptr},
      {"backend", setting.null             ? Json("null")
                  : setting.socket.empty() ? Json(to_string(setting.aio))
                                           : Json(nullptr)},
      {"cache", to_string(setting.cache)},
      {"medium", setting.medium},
      {"notify", bellhop::to_string(cell.notify)},
      {"optimize", cell.notify == NotifyMode::kAdaptive ? Json(bellhop::to_string(setting.optimize))
                                                        : Json(nullptr)},
      {"placement", to_string(cell.placement)},
  });
  return json;
}

namespace {

Json run_to_json(const Run& run, const BlkSetting& setting) {
  Json json = cell_fields(run.cell, setting);
  add_run(json, run);
  json["verified"] = !setting.null;
  return json;
}

std::vector<Json> runs_of(const BlkReport& report) {
  std::vector<Json> runs;
  runs.reserve(report.runs.size());
  for (const Run& run : report.runs) runs.push_back(run_to_json(run, report.setting));
  return runs;
}

}  // namespace

const Run* BlkReport::find(const BlkCell& cell) const {
  const auto found = std::ranges::find(runs, cell, &Run::cell);
  return found == runs.end() ? nullptr : &*found;
}

Json to_json(const BlkReport& report) {
  return report_to_json(report, runs_of(report), compare_runs(report));
}

std::string to_csv(const BlkReport& report) { return runs_to_csv(runs_of(report)); }

}  // namespace bellhop::bench
