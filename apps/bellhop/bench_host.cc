#include "apps/bellhop/bench_output.h"
#include "bellhop_version.h"
#include "probe/probe.h"

namespace bellhop {

void describe_host(bench::ReportBase& report) {
  ProbeOptions options;
  options.version = BELLHOP_VERSION;
  options.ioeventfd_bound = 1;  // how many there are is not asked for here
  const ProbeReport probe = probe_host(options);
  report.host = to_json(probe.host);
  report.floors = to_json(probe.floors);
}

}  // namespace bellhop
