#include "machine/device_slots.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <string_view>

#include "base/split.h"
#include "virtio/abi/ring.h"

namespace bellhop {

namespace {

/// How many queues in a row stay on one I/O thread when a device is spread over several.
template <class Config>
constexpr std::size_t queues_together() {
  if constexpr (requires { Config::kQueuesTogether; }) return Config::kQueuesTogether;
  return 1;
}

/// The I/O threads that `names` stands for: one, or several joined by ':'. Empty: the first.
Result<std::vector<IoThread*>> find_threads(std::string_view id, std::string_view names,
                                            std::span<const std::unique_ptr<IoThread>> iothreads) {
  std::vector<IoThread*> found;
  if (names.empty()) return std::vector{iothreads.front().get()};
  for (const std::string_view name : split(names, ':')) {
    const auto thread = std::ranges::find(iothreads, name, [](const auto& candidate) {
      return std::string_view(candidate->config().name);
    });
    if (thread == iothreads.end()) {
      return fail(fmt::format("{}: there is no I/O thread '{}' (see --iothread)", id, name));
    }
    found.push_back(thread->get());
  }
  return found;
}

template <class Config>
Result<PreparedDevice> prepare(const Config& config,
                               std::span<const std::unique_ptr<IoThread>> iothreads,
                               const DeviceHost& host) {
  const auto threads = find_threads(config.id, config.iothread, iothreads);
  if (!threads) return forward(threads);
  DeviceHost around = host;
  around.on_io_uring = std::ranges::all_of(
      *threads, [](IoThread* thread) { return thread->loop().kind() == LoopKind::kIoUring; });
  auto device = make_device(config, around);
  if (!device) {
    return fail(named_at(config.place, device.error().message), device.error().code);
  }
  DeviceWiring placed{.memory = host.memory,
                      .threads = {},
                      .notify = config.notify,
                      .optimize = config.optimize.value_or(Optimize::kThroughput),
                      .has_vcpus = host.has_vcpus,
                      .coalesce = config.coalesce,
                      .ring_features = ring_features(config)};
  for (IoThread* const thread : *threads) {
    placed.threads.insert(placed.threads.end(), queues_together<Config>(), thread);
  }
  return PreparedDevice{std::move(*device), std::move(placed)};
}

/// How many of an adaptive device's queues are notified in each way now.
std::array<DeviceStat, 3> notified_by(const DeviceLife& life) {
  std::array<DeviceStat, 3> stats = {
      {{"queues_ioeventfd", 0, true}, {"queues_sync", 0, true}, {"queues_poll", 0, true}}};
  for (unsigned queue = 0; queue < life.queue_count(); ++queue) {
    if (!life.running(queue)) continue;
    const NotifyMode mode = life.notify_mode(queue);
    ++stats[mode == NotifyMode::kIoEventFd ? 0 : mode == NotifyMode::kSync ? 1 : 2].value;
  }
  return stats;
}

QueueStats stats_of(const DeviceLife& life, unsigned queue) {
  QueueStats stats{.device = life.traits().id,
                   .queue = queue,
                   .running = life.running(queue),
                   .server = life.server(queue),
                   .notify = life.notify_mode(queue),
                   .wish = life.notify_wish(queue)};
  const QueueCounters& counters = life.counters(queue);
  for (const QueueCount& count : kQueueCounts) {
    stats.*count.value = (counters.*count.counter).get();
  }
  return stats;
}

}  // namespace

Result<IoThreads> start_iothreads(std::span<const IoThreadConfig> configs) {
  IoThreads threads;
  threads.reserve(configs.size());
  for (const IoThreadConfig& config : configs) {
    auto thread = IoThread::start(config);
    if (!thread) {
      return fail(named_at(config.place, fmt::format("--iothread: {}", thread.error().message)),
                  thread.error().code);
    }
    threads.push_back(std::move(*thread));
  }
  return threads;
}

Result<std::vector<PreparedDevice>> prepare_devices(
    const MachineConfig& config, std::span<const std::unique_ptr<IoThread>> threads,
    const DeviceHost& host) {
  std::vector<PreparedDevice> devices;
#define BELLHOP_DEVICE(Config, list)             \
  for (const Config& one : config.list) {        \
    auto prepared = prepare(one, threads, host); \
    if (!prepared) return forward(prepared);     \
    devices.push_back(std::move(*prepared));     \
  }
#include "devices/devices.def"
#undef BELLHOP_DEVICE
  return devices;
}

namespace {

tl::unexpected<Error> no_hotplug() {
  return fail("devices come and go on machines with --transport pci alone", ENOTSUP);
}

}  // namespace

Result<std::string> DeviceSlots::plug(PreparedDevice /*device*/,
                                      const std::function<Status(DeviceLife&)>& /*prepare*/) {
  return no_hotplug();
}

Status DeviceSlots::ask_for(std::string_view /*id*/) { return no_hotplug(); }

void DeviceSlots::pause() {
  for (DeviceLife* life : lives()) life->pause();
}

void DeviceSlots::resume() {
  for (DeviceLife* life : lives()) life->resume();
}

MachineCounters DeviceSlots::counters() const {
  const std::vector<DeviceLife*> all = lives();
  const std::vector<const DeviceLife*> looked_at(all.begin(), all.end());
  return counters_of(looked_at);
}

MachineCounters counters_of(std::span<const DeviceLife* const> lives) {
  MachineCounters sum;
  for (const DeviceLife* life : lives) {
    QueueStats all;  // of this device
    for (unsigned queue = 0; queue < life->queue_count(); ++queue) {
      QueueStats one = stats_of(*life, queue);
      for (const QueueCount& count : kQueueCounts) all.*count.value += one.*count.value;
      sum.queues.push_back(std::move(one));
    }
    sum.kicks += all.kicks;
    sum.kicks_by_exit += all.kicks_by_exit;
    sum.chains += all.chains;
    sum.interrupts += all.interrupts;
    sum.spurious_kicks += all.spurious_kicks;
    sum.interrupts_saved += all.interrupts_saved;
    sum.batches += all.batches;
    sum.bad_chains += all.bad_chains;
    sum.broken_queues += all.broken;
    sum.system_calls += all.system_calls;
    std::vector<DeviceStat> stats = {{"kicks", all.kicks},
                                     {"kicks_by_exit", all.kicks_by_exit},
                                     {"chains", all.chains},
                                     {"interrupts", all.interrupts}};
    if (life->adaptive()) std::ranges::copy(notified_by(*life), std::back_inserter(stats));
    std::ranges::copy(life->stats(), std::back_inserter(stats));
    sum.devices.push_back({life->traits().id, std::move(stats)});
  }
  return sum;
}

}  // namespace bellhop
