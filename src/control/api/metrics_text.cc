#include "control/api/metrics_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

#include "control/machine_control.h"

namespace bellhop::control {

namespace {

constexpr MachineState kStates[] = {MachineState::kCreated, MachineState::kRunning,
                                    MachineState::kPaused, MachineState::kOff};

using Labels = std::vector<std::pair<std::string_view, std::string>>;

/// A label's value: backslash, quote and line break have a backslash before them.
std::string escaped(std::string_view value) {
  std::string text;
  for (const char byte : value) {
    if (byte == '\\' || byte == '"') text += '\\';
    if (byte == '\n') {
      text += "\\n";
    } else {
      text += byte;
    }
  }
  return text;
}

class Page {
 public:
  enum class Kind { kCount, kLevel };

  /// Opens a family; its samples follow. A count's name gets its ending.
  void family(std::string name, Kind kind, std::string_view help) {
    name_ = "bellhop_" + std::move(name) + (kind == Kind::kCount ? "_total" : "");
    fmt::format_to(std::back_inserter(text_), "# HELP {} {}\n# TYPE {} {}\n", name_, help, name_,
                   kind == Kind::kCount ? "counter" : "gauge");
  }
  template <class Value>
  void sample(const Labels& labels, Value value) {
    text_ += name_;
    for (std::size_t i = 0; i < labels.size(); ++i) {
      fmt::format_to(std::back_inserter(text_), "{}{}=\"{}\"", i == 0 ? '{' : ',', labels[i].first,
                     escaped(labels[i].second));
    }
    fmt::format_to(std::back_inserter(text_), "{} {}\n", labels.empty() ? "" : "}", value);
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
  std::string name_;
};

void add_machine(Page& page, const MachineMetrics& metrics, std::string_view version) {
  page.family("build_info", Page::Kind::kLevel, "The program's version.");
  page.sample({{"version", std::string(version)}}, 1);
  page.family("machine_state", Page::Kind::kLevel, "1 for the state that the machine is in.");
  for (const MachineState state : kStates) {
    page.sample({{"state", std::string(to_string(state))}}, state == metrics.state ? 1 : 0);
  }
  page.family("machine_memory_bytes", Page::Kind::kLevel,
              "Memory of the guest, without what is in its balloon.");
  page.sample({}, metrics.memory_bytes);
  page.family("machine_userspace_exits", Page::Kind::kCount,
              "Exits of all vCPUs that this program served.");
  page.sample({}, metrics.counters.userspace_exits);
  page.family("machine_system_calls", Page::Kind::kCount,
              "System calls of the I/O threads' loops and of all queues' back ends.");
  page.sample({}, metrics.counters.system_calls);
}

void add_threads(Page& page, const MachineMetrics& metrics) {
  page.family("thread_cpu_seconds", Page::Kind::kCount,
              "CPU time of a vCPU (its guest's is in it) or of an I/O thread.");
  for (const ThreadStats& thread : metrics.threads) {
    page.sample({{"thread", thread.name}, {"kind", thread.is_vcpu ? "vcpu" : "iothread"}},
                std::chrono::duration<double>(thread.cpu).count());
  }
}

void add_queues(Page& page, const MachineMetrics& metrics) {
  const auto& queues = metrics.counters.queues;
  const auto labels = [](const QueueStats& queue) -> Labels {
    return {{"device", queue.device}, {"queue", std::to_string(queue.queue)}};
  };
  page.family("queue_running", Page::Kind::kLevel,
              "1 for a queue that is served now, with who serves it and how it is notified.");
  for (const QueueStats& queue : queues) {
    Labels all = labels(queue);
    all.emplace_back("server", to_string(queue.server));
    all.emplace_back("notify", bellhop::to_string(queue.notify));
    page.sample(all, queue.running ? 1 : 0);
  }
  for (const QueueCount& count : kQueueCounts) {
    page.family(fmt::format("queue_{}", count.name), Page::Kind::kCount, count.meaning);
    for (const QueueStats& queue : queues) page.sample(labels(queue), queue.*count.value);
  }
}

/// What devices count themselves: devices of one type have the same names, others some of them.
/// What is a queue's is not said again.
void add_devices(Page& page, const MachineMetrics& metrics) {
  using Name = std::pair<std::string, bool>;  // and whether it is a level
  std::map<Name, std::vector<std::pair<std::string, std::uint64_t>>> families;
  for (const DeviceStats& device : metrics.counters.devices) {
    for (const DeviceStat& stat : device.stats) {
      const bool queues_own = std::ranges::any_of(kQueueCounts, [&stat](const QueueCount& count) {
        return stat.name == std::string_view(count.name);
      });
      if (!queues_own) families[{stat.name, stat.level}].emplace_back(device.id, stat.value);
    }
  }
  for (const auto& [name, samples] : families) {
    page.family("device_" + name.first, name.second ? Page::Kind::kLevel : Page::Kind::kCount,
                "See the device's page.");
    for (const auto& [device, value] : samples) page.sample({{"device", device}}, value);
  }
}

}  // namespace

std::string metrics_text(const MachineMetrics& metrics, std::string_view version) {
  Page page;
  add_machine(page, metrics, version);
  add_threads(page, metrics);
  add_queues(page, metrics);
  add_devices(page, metrics);
  return page.take();
}

}  // namespace bellhop::control
