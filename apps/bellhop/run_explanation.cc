#include "apps/bellhop/run_explanation.h"

#include <unistd.h>

#include <map>
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
    threads_begun_.clear();
    for (const QueueTimes& queue : since) threads_begun_[queue.io_thread] = queue.io_thread_cpu;
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
  std::vector<QueueTimes>& times = measured_ ? *measured_ : rest;
  std::erase_if(times, [](const QueueTimes& queue) { return queue.times.requests == 0; });
  std::vector<bench::QueueExplanation> queues;
  queues.reserve(times.size());
  for (QueueTimes& queue : times) {
    queues.push_back(bench::explain(std::move(queue.device), queue.queue, to_string(queue.notify),
                                    std::move(queue.times), hertz));
  }
  struct Served {
    std::vector<bench::QueueExplanation*> queues;
    std::chrono::nanoseconds cpu{0};
  };
  std::map<std::string, Served> threads;
  for (std::size_t i = 0; i < times.size(); ++i) {
    if (times[i].io_thread.empty()) continue;
    Served& thread = threads[times[i].io_thread];
    thread.queues.push_back(&queues[i]);
    thread.cpu = times[i].io_thread_cpu - threads_begun_[times[i].io_thread];
  }
  for (auto& [name, thread] : threads) {
    bench::share_thread(thread.queues, Microseconds(thread.cpu).count());
  }
  bench::share_rest(queues, cpu.count());
  return write_result("--explain", path_, file_, bench::to_json(queues));
}

}  // namespace bellhop
