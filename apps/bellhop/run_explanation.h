#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time_stamp.h"
#include "base/unique_fd.h"
#include "machine/queue_times.h"

namespace bellhop {

/// What `bellhop run --explain` writes: where the time of each queue's requests went, over the
/// machine's whole life or, if the guest wrote the markers 1 and 2, between them.
class RunExplanation {
 public:
  /// What a request's way was since the last marker. On a vCPU thread.
  void mark(std::uint32_t marker, std::vector<QueueTimes> since);
  /// As RunStats::open().
  Status open(const std::string& path);
  /// `rest`: since the last marker, at the machine's end. Nothing without open().
  [[nodiscard]] Status write(std::vector<QueueTimes> rest);

 private:
  std::string path_;
  UniqueFd file_;
  TimeStampRate rate_;
  std::mutex mutex_;
  std::optional<std::vector<QueueTimes>> measured_;
  std::chrono::nanoseconds begun_{0};                              ///< the process's CPU time then
  std::chrono::nanoseconds measured_cpu_{0};                       ///< used for measured_
  std::map<std::string, std::chrono::nanoseconds> threads_begun_;  ///< the same of I/O threads
};

}  // namespace bellhop
