#include "machine/machine_devices.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <iterator>
#include <mutex>

#include "base/cpu_meter.h"
#include "base/output_files.h"
#include "event/io_thread.h"

namespace bellhop {

namespace {

/// How long a change of notification may wait for requests that are under way.
constexpr std::chrono::seconds kPatience{1};

}  // namespace

Result<std::unique_ptr<MachineDevices>> MachineDevices::create(const MachineConfig& config,
                                                               const DeviceHost& host,
                                                               const MoreDevices& more,
                                                               const SlotWiring& wiring) {
  std::unique_ptr<MachineDevices> devices(new MachineDevices(host, wiring));
  devices->host_.memory = &wiring.memory;
  devices->host_.rate_groups = &devices->rate_groups_;
  if (auto made = devices->make_slots(config, wiring); !made) return forward(made);
  if (auto filled = devices->fill_slots(config, more, wiring); !filled) return forward(filled);
  return devices;
}

Status MachineDevices::make_slots(const MachineConfig& config, const SlotWiring& wiring) {
  auto slots = config.transport == TransportKind::kMmio
                   ? make_mmio_slots(wiring)
                   : make_pci_slots(wiring, config.transport == TransportKind::kPci
                                                ? PciStyle::kModern
                                                : PciStyle::kTransitional);
  if (!slots) return forward(slots);
  slots_ = std::move(*slots);
  return {};
}

Status MachineDevices::fill_slots(const MachineConfig& config, const MoreDevices& more,
                                  const SlotWiring& wiring) {
  for (const RateGroupConfig& group : config.rate_groups) {
    auto& made = rate_groups_.emplace_back(std::make_unique<RateGroup>(group.id, group.rates));
    rate_limited_.emplace(group.id, made.get());
  }
  auto devices = prepare_devices(config, iothreads_, host_);
  if (!devices) return forward(devices);
  if (more) {
    auto made = more(wiring);
    if (!made) return forward(made);
    std::ranges::move(*made, std::back_inserter(*devices));
  }
  // For devices that are added: in the sandbox no thread that starts later may do what it does.
  if (config.seccomp != SeccompMode::kOff) {
    if (auto made = make_tuner(NotifyMode::kAdaptive); !made) return made;
  }
  for (PreparedDevice& device : *devices) {
    note_changeable(*device.device);
    if (auto made = make_tuner(device.wiring.notify); !made) return made;
    if (auto added = slots_->add(std::move(device)); !added) return added;
    if (DeviceLife& life = *slots_->lives().back(); life.adaptive()) tuner_->add(life);
  }
  return {};
}

void MachineDevices::note_changeable(VirtioDevice& device) {
  if (auto* const resizable = dynamic_cast<Resizable*>(&device)) {
    resizables_.emplace(device.traits().id, resizable);
  }
  if (auto* const limited = dynamic_cast<RateLimited*>(&device)) {
    rate_limited_.emplace(device.traits().id, limited);
  }
}

Status MachineDevices::make_tuner(NotifyMode mode) {
  if (tuner_ || mode != NotifyMode::kAdaptive) return {};
  auto made = NotifyTuner::create();
  if (!made) {
    return fail(fmt::format("notify=adaptive: {}", made.error().message), made.error().code);
  }
  tuner_ = std::move(*made);
  return {};
}

void MachineDevices::trace_requests(std::optional<std::uint64_t> driver_clock) {
  traced_ = true;
  driver_clock_ = driver_clock;
  for (DeviceLife* const life : slots_->lives()) trace(*life);
}

void MachineDevices::trace(DeviceLife& life) {
  if (!traced_) return;
  life.trace_requests();
  if (driver_clock_) life.set_driver_clock(*driver_clock_);
}

Result<std::string> MachineDevices::add(const MachineConfig& config) {
  DeviceHost host = host_;
  OutputFiles outputs;
  host.outputs = &outputs;
  auto made = prepare_devices(config, iothreads_, host);
  if (!made) return forward(made);
  PreparedDevice& device = made->front();
  if (auto tuner = make_tuner(device.wiring.notify); !tuner) return forward(tuner);
  VirtioDevice& added = *device.device;
  Result<std::string> place;
  {
    const std::lock_guard hold(mutex_);
    place = slots_->plug(std::move(device), [&](DeviceLife& life) {
      trace(life);
      return outputs.begin();
    });
    if (place) note_changeable(added);
  }
  if (!place) return place;
  if (DeviceLife& life = *slots_->lives().back(); life.adaptive()) tuner_->add(life);
  return place;
}

void MachineDevices::take_away(std::vector<std::string> ids) {
  for (std::string& id : ids) {
    for (DeviceLife* const life : slots_->lives()) {
      if (tuner_ && life->traits().id == id) tuner_->remove(*life);
    }
    std::shared_ptr<void> device;
    {
      const std::lock_guard hold(mutex_);
      resizables_.erase(id);
      rate_limited_.erase(id);
      device = slots_->remove(id);
    }
    device.reset();  // its last requests are waited for: nobody else waits with it
    gone_.push_back(std::move(id));
  }
}

Status MachineDevices::remove(std::string_view id) {
  if (auto asked = slots_->ask_for(id); !asked) return asked;
  take_away({std::string(id)});
  return {};
}

Status MachineDevices::resize(std::string_view id, std::uint64_t bytes) {
  const std::shared_lock hold(mutex_);
  const auto found = resizables_.find(id);
  if (found == resizables_.end()) {
    return fail(fmt::format("there is no device '{}' that has a size", id), ENOENT);
  }
  if (auto done = found->second->resize(bytes); !done) {
    return fail(fmt::format("{}: {}", id, done.error().message), done.error().code);
  }
  return {};
}

Status MachineDevices::set_rates(std::string_view id, const Rates& rates) {
  const std::shared_lock hold(mutex_);
  const auto found = rate_limited_.find(id);
  if (found == rate_limited_.end()) {
    return fail(fmt::format("there is no device '{}' that keeps to rates", id), ENOENT);
  }
  found->second->set_rates(rates);
  return {};
}

Status MachineDevices::set_notify(std::string_view id, std::optional<unsigned> queue,
                                  NotifyWish wish) {
  const std::vector<DeviceLife*> lives = slots_->lives();
  const auto found =
      std::ranges::find_if(lives, [id](const DeviceLife* life) { return life->traits().id == id; });
  if (found == lives.end()) return fail(fmt::format("there is no device '{}'", id), ENOENT);
  DeviceLife& life = **found;
  if (auto made = make_tuner(wish.mode); !made) return made;
  if (tuner_) tuner_->remove(life);
  const unsigned begin = queue.value_or(0);
  const unsigned end = queue ? *queue + 1 : life.queue_count();
  std::vector<NotifyWish> before;
  Status done;
  for (unsigned i = begin; done && i < end; ++i) {
    const NotifyWish now = i < life.queue_count() ? life.notify_wish(i) : NotifyWish();
    done = life.set_notify(i, wish, kPatience);
    if (done) before.push_back(now);
  }
  if (!done) {
    for (std::size_t i = 0; i < before.size(); ++i) {
      (void)life.set_notify(begin + static_cast<unsigned>(i), before[i], kPatience);
    }
    done = fail(fmt::format("{}: {}", id, done.error().message), done.error().code);
  }
  if (life.adaptive()) tuner_->add(life);
  return done;
}

MachineCounters MachineDevices::counters() const {
  const std::shared_lock hold(mutex_);
  MachineCounters sum = slots_->counters();
  for (const auto& group : rate_groups_) {
    sum.devices.push_back({group->id,
                           {{"throttled", group->throttle.times.get()},
                            {"throttled_ns", group->throttle.nanoseconds.get()}}});
  }
  return sum;
}

std::vector<QueueTimes> MachineDevices::take_request_times() {
  std::vector<QueueTimes> all;
  const std::shared_lock hold(mutex_);
  for (DeviceLife* const life : slots_->lives()) {
    for (unsigned queue = 0; queue < life->queue_count(); ++queue) {
      auto times = life->take_request_times(queue);
      if (!times) continue;
      QueueTimes& one = all.emplace_back(
          QueueTimes{life->traits().id, queue, life->notify_mode(queue), std::move(*times)});
      if (life->drain(queue) != Drain::kByIoThread) continue;
      const IoThread& thread = life->thread(queue);
      one.io_thread = thread.config().name;
      one.io_thread_cpu = cpu_time_of(thread.tid()).value_or(std::chrono::nanoseconds(0));
    }
  }
  return all;
}

std::string MachineDevices::host_end(std::string_view id) const {
  const std::shared_lock hold(mutex_);
  for (const DeviceLife* const life : slots_->lives()) {
    if (life->traits().id == id) return life->host_end();
  }
  return {};
}

}  // namespace bellhop
