#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "virtio/queue/request_times.h"

namespace bellhop::bench {

/// Microseconds.
struct StepTimes {
  double p50 = 0;
  double p99 = 0;
  double mean = 0;  ///< of all steps together: the mean of the whole
  /// CPU time of the threads that serve the queue, for each request, where it is known.
  std::optional<double> cpu;
  [[nodiscard]] bool known() const noexcept { return p99 > 0 || mean > 0; }
};

/// When a request came to each point, in microseconds; less than 0 is unknown.
using RequestLine = std::array<double, kRequestPoints>;

/// Where the time of the requests of one queue went, for people: RequestTimes in microseconds.
struct QueueExplanation {
  std::string device;
  unsigned queue = 0;
  std::string notify;
  std::uint64_t requests = 0;
  std::uint64_t by_driver = 0;
  std::uint64_t disordered = 0;
  std::array<StepTimes, kRequestSteps> steps;
  StepTimes total;
  /// CPU time of the process that is in no step of any queue, for each request of all its queues.
  std::optional<double> rest_cpu;
  std::vector<RequestLine> last;  ///< from the first point of the first of them on
};

/// "offered", "served", ...
const char* to_string(RequestPoint point) noexcept;
/// What goes by in a step: "kick, and wake-up of the thread that serves".
const char* meaning(std::size_t step) noexcept;

/// `hertz`: how fast the time-stamp counter counts.
QueueExplanation explain(std::string device, unsigned queue, std::string notify, RequestTimes times,
                         double hertz);

/// Makes the CPU time of the steps of `queues`, which are all that an I/O thread serves, add up to
/// `thread`, the microseconds that it used meanwhile: to clock a thread in bursts changes when it
/// sleeps. What is not in the steps of work was used while none of their requests was under way, to
/// look or to fall asleep: from offered to served. Where more was clocked in bursts than was used,
/// all steps count for less.
void share_thread(std::span<QueueExplanation* const> queues, double thread);

/// Sets rest_cpu of `queues`, which are all of a machine's. `process`: microseconds of CPU time
/// that the process used meanwhile.
void share_rest(std::vector<QueueExplanation>& queues, double process);

/// What `bellhop run --explain` writes.
std::string to_json(const std::vector<QueueExplanation>& queues);
/// The same read back, wherever it comes from. Errors: what is wrong with it.
Result<std::vector<QueueExplanation>> read_explanations(const std::string& text);

}  // namespace bellhop::bench
