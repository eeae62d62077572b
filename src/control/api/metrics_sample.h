#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bellhop::control {

/// What vm.metrics of a machine's API answered at one moment, as its client sees it. Texts have no
/// control characters: they are fit for a terminal.
struct MetricsSample {
  struct Queue {
    std::string device;
    std::uint64_t queue = 0;
    bool running = false;
    std::string server;
    std::string notify;
    std::string optimize = {};  ///< of one that is adaptive
    /// kicks, spurious_kicks, completions, interrupts and batches, as QueueStats has them.
    std::map<std::string, std::uint64_t, std::less<>> counts;
  };
  struct Thread {
    std::string name;
    std::uint64_t tid = 0;
    std::uint64_t cpu_ns = 0;
  };
  std::string state;
  std::uint64_t time_ns = 0;
  std::uint64_t memory_bytes = 0;
  std::vector<std::pair<std::string, std::uint64_t>>
      device_bytes;  ///< read, written, received and sent
  std::vector<Queue> queues;
  std::vector<Thread> threads;

  /// Nothing: this is no answer of vm.metrics.
  static std::optional<MetricsSample> read(std::string_view json);
};

}  // namespace bellhop::control
