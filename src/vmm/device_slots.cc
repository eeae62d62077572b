#include "vmm/device_slots.h"

#include <fmt/format.h>

#include <algorithm>

namespace bellhop {

namespace {

template <class Config>
Result<PreparedDevice> prepare(const Config& config, const SlotWiring& wiring) {
  const auto& threads = wiring.iothreads;
  const auto thread = config.iothread.empty()
                          ? threads.begin()
                          : std::ranges::find(threads, config.iothread, [](const auto& candidate) {
                              return candidate->config().name;
                            });
  if (thread == threads.end()) {
    return fail(fmt::format("{}: there is no I/O thread '{}' (see --iothread)", config.id,
                            config.iothread));
  }
  auto device = make_device(config);
  if (!device) return forward(device);
  return PreparedDevice{
      std::move(*device),
      {.memory = &wiring.memory, .threads = {thread->get()}, .notify = config.notify}};
}

}  // namespace

Result<std::vector<PreparedDevice>> prepare_devices(const MachineConfig& config,
                                                    const SlotWiring& wiring) {
  std::vector<PreparedDevice> devices;
#define BELLHOP_DEVICE(Config, list)         \
  for (const Config& one : config.list) {    \
    auto prepared = prepare(one, wiring);    \
    if (!prepared) return forward(prepared); \
    devices.push_back(std::move(*prepared)); \
  }
#include "devices/devices.def"
#undef BELLHOP_DEVICE
  return devices;
}

void DeviceSlots::pause() {
  for (DeviceCore* core : cores()) core->pause();
}

void DeviceSlots::resume() {
  for (DeviceCore* core : cores()) core->resume();
}

MachineCounters DeviceSlots::counters() const {
  MachineCounters sum;
  for (const DeviceCore* core : cores()) {
    if (auto figures = core->figures(); !figures.empty()) {
      sum.devices.push_back({core->traits().id, std::move(figures)});
    }
    for (unsigned queue = 0; queue < core->queue_count(); ++queue) {
      const QueueCounters& counters = core->runner(queue).counters();
      sum.kicks += counters.kicks.get();
      sum.kicks_in_vain += counters.kicks_in_vain.get();
      sum.interrupts += counters.interrupts.get();
      sum.interrupts_saved += counters.interrupts_saved.get();
      sum.chains += counters.chains.get();
      sum.batches += counters.batches.get();
      sum.bad_chains += counters.bad_chains.get();
      sum.broken_queues += counters.broken.get();
      sum.system_calls += counters.system_calls.get();
    }
  }
  return sum;
}

}  // namespace bellhop
