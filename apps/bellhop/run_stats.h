#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "machine/machine.h"

namespace bellhop {

/// What `bellhop run --stats` writes: the machine's counters over its whole life ("total") and, if
/// the guest wrote the markers 1 and 2, between them ("measured"); and the kernel's ids of its
/// threads, for whoever keeps CPU-time accounts.
class RunStats {
 public:
  static constexpr std::uint32_t kMarkerBegin = 1;
  static constexpr std::uint32_t kMarkerEnd = 2;

  /// On a vCPU thread.
  void mark(std::uint32_t marker, const MachineCounters& now);
  void set_threads(std::vector<int> vcpus, std::vector<int> iothreads);
  /// Opens what write() writes: before the machine starts, so that nobody waits for its end to hear
  /// of a wrong path. "-" is standard error, since standard output is the guest's.
  Status open(const std::string& path);
  /// Nothing without open().
  [[nodiscard]] Status write(const MachineCounters& total) const;
  [[nodiscard]] std::string to_json(const MachineCounters& total) const;

 private:
  std::string path_;
  UniqueFd file_;
  mutable std::mutex mutex_;
  std::optional<MachineCounters> begin_;
  std::optional<MachineCounters> end_;
  std::vector<int> vcpus_;
  std::vector<int> iothreads_;
};

}  // namespace bellhop
