#include "apps/bellhop/bench_output.h"
#include "base/cpu_list.h"
#include "bellhop_version.h"

namespace bellhop {

void describe_host(bench::BlkReport& report) {
  report.host["cpus"] = allowed_cpus().size();
  report.host["bellhop"] = BELLHOP_VERSION;
  report.floors = nlohmann::ordered_json::object();
}

}  // namespace bellhop
