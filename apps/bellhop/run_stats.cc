#include "apps/bellhop/run_stats.h"

#include <unistd.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "apps/bellhop/result_file.h"

namespace bellhop {

namespace {

nlohmann::ordered_json difference(const MachineCounters& end, const MachineCounters& begin) {
  nlohmann::ordered_json json;
  for (const auto& [name, member] : kMachineCounts) json[name] = end.*member - begin.*member;
  // A device has the same stats in the same order each time; at the beginning of all, none.
  for (std::size_t i = 0; i < end.devices.size(); ++i) {
    const auto& [id, stats] = end.devices[i];
    for (std::size_t k = 0; k < stats.size(); ++k) {
      const bool had =
          i < begin.devices.size() && k < begin.devices[i].stats.size() && !stats[k].level;
      json["devices"][id][stats[k].name] =
          stats[k].value - (had ? begin.devices[i].stats[k].value : 0);
    }
  }
  return json;
}

}  // namespace

void RunStats::mark(std::uint32_t marker, const MachineCounters& now) {
  const std::lock_guard lock(mutex_);
  if (marker == kMarkerBegin) {
    begin_ = now;
    end_.reset();
  } else if (marker == kMarkerEnd) {
    end_ = now;
  }
}

void RunStats::set_threads(std::vector<int> vcpus, std::vector<int> iothreads) {
  const std::lock_guard lock(mutex_);
  vcpus_ = std::move(vcpus);
  iothreads_ = std::move(iothreads);
}

std::string RunStats::to_json(const MachineCounters& total) const {
  const std::lock_guard lock(mutex_);
  nlohmann::ordered_json json;
  json["total"] = difference(total, {});
  if (begin_ && end_) json["measured"] = difference(*end_, *begin_);
  json["threads"]["vcpu"] = vcpus_;
  json["threads"]["iothread"] = iothreads_;
  return json.dump(2) + "\n";
}

Status RunStats::open(const std::string& path) {
  auto file = open_result("--stats", path, STDERR_FILENO);
  if (!file) return forward(file);
  path_ = path;
  file_ = std::move(*file);
  return {};
}

Status RunStats::write(const MachineCounters& total) const {
  if (!file_.valid()) return {};
  return write_result("--stats", path_, file_, to_json(total));
}

}  // namespace bellhop
