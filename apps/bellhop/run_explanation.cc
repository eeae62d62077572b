#include "apps/bellhop/run_explanation.h"

#include <unistd.h>

#include <utility>

#include "apps/bellhop/result_file.h"
#include "apps/bellhop/run_stats.h"
#include "base/cpu_meter.h"
#include "bench/explain/explanation.h"

namespace bellhop {

void RunExplanation::mark(std::uint32_t marker, std::vector<QueueTimes> since) {
  const std::lock_guard lock(mutex_);
  if (marker == RunStats::kMarkerBegin) {
    measured_.reset();
    begun_ = process_cpu_time();
  } else if (marker == RunStats::kMarkerEnd) {
    measured_ = std::move(since);
    measured_cpu_ = process_cpu_time() - begun_;
  }
}

Status RunExplanation::open(const std::string& path) {
  auto file = open_result("--explain", path, STDERR_FILENO);
  if (!file) return forward(file);
  path_ = path;
  file_ = std::move(*file);
  return {};
}

Status RunExplanation::write(std::vector<QueueTimes> rest) {
  if (!file_.valid()) return {};
  const std::lock_guard lock(mutex_);
  const double hertz = rate_.hertz();
  using Microseconds = std::chrono::duration<double, std::micro>;
  const Microseconds cpu = measured_ ? measured_cpu_ : process_cpu_time() - begun_;
  std::vector<bench::QueueExplanation> queues;
  for (QueueTimes& queue : measured_ ? *measured_ : rest) {
    queues.push_back(bench::explain(std::move(queue.device), queue.queue, to_string(queue.notify),
                                    std::move(queue.times), hertz));
  }
  bench::share_rest(queues, cpu.count());
  return write_result("--explain", path_, file_, bench::to_json(queues));
}

}  // namespace bellhop
