#include "transport/device_core.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/log.h"
#include "virtio/abi/ring.h"

namespace bellhop {

using namespace virtio;

namespace {

constexpr std::uint8_t kDriverBits =
    kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk | kStatusDriverOk | kStatusFailed;

}  // namespace

Result<std::unique_ptr<DeviceCore>> DeviceCore::create(std::unique_ptr<VirtioDevice> device,
                                                       CoreWiring wiring, CoreClient& client) {
  std::unique_ptr<DeviceCore> core(new DeviceCore(std::move(device), std::move(wiring), client));
  core->device_->set_config_listener(core.get());
  for (std::size_t i = 0; i < core->queues_.size(); ++i) {
    Queue& queue = core->queues_[i];
    auto runner = QueueRunner::create({
        .thread = core->wiring_.threads[i % core->wiring_.threads.size()],
        .mode = core->wiring_.notify,
        .interrupt = &queue.interrupt,
        .faults = core.get(),
    });
    if (!runner) return forward(runner);
    queue.runner = std::move(*runner);
    queue.config.size = core->queue_max_size();
  }
  return core;
}

DeviceCore::~DeviceCore() { reset(); }

std::uint64_t DeviceCore::offered() const noexcept {
  return device_->traits().features | kRingFeatures;
}

std::uint32_t DeviceCore::device_features(std::uint32_t word) const noexcept {
  return word > 1 ? 0 : static_cast<std::uint32_t>(offered() >> (32 * word));
}

std::uint32_t DeviceCore::driver_features(std::uint32_t word) const noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  return word > 1 ? 0 : static_cast<std::uint32_t>(driver_features_ >> (32 * word));
}

void DeviceCore::set_driver_features(std::uint32_t word, std::uint32_t value) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  if (word > 1 || (status() & (kStatusFeaturesOk | kStatusDriverOk)) != 0) {
    guest_fault("writes features that are absent or settled");
    return;
  }
  const unsigned shift = 32 * word;
  driver_features_ &= ~(std::uint64_t{UINT32_MAX} << shift);
  driver_features_ |= std::uint64_t{value} << shift;
}

void DeviceCore::write_status(std::uint8_t value) {
  const std::lock_guard<std::mutex> hold(lock_);
  if (value == 0) {
    reset_locked();
    return;
  }
  const std::uint8_t before = status();
  // 2.1.1: bits are only ever added; NEEDS_RESET is the device's own.
  std::uint8_t added = static_cast<std::uint8_t>(value & kDriverBits & ~before);
  if ((added & kStatusFeaturesOk) != 0) {
    const bool acceptable = (driver_features_ & ~offered()) == 0 &&
                            (driver_features_ & feature_mask(kFeatureVersion1)) != 0;
    // 2.2.2: the driver finds FEATURES_OK clear when it reads it back.
    if (!acceptable) {
      guest_fault("acknowledges features that were not offered");
      added &= static_cast<std::uint8_t>(~kStatusFeaturesOk);
    }
  }
  if ((added & kStatusDriverOk) != 0 && ((before | added) & kStatusFeaturesOk) == 0) {
    guest_fault("sets DRIVER_OK without FEATURES_OK");
    added &= static_cast<std::uint8_t>(~kStatusDriverOk);
  }
  status_.fetch_or(added, std::memory_order_acq_rel);
  if ((added & kStatusDriverOk) != 0) activate();
}

std::uint32_t DeviceCore::legacy_features() const noexcept {
  return static_cast<std::uint32_t>(offered() | feature_mask(kFeatureAnyLayout));
}

void DeviceCore::write_legacy_status(std::uint8_t value) {
  const std::lock_guard<std::mutex> hold(lock_);
  if (value == 0) {
    reset_locked();
    return;
  }
  const auto added =
      static_cast<std::uint8_t>(value & kDriverBits & ~kStatusFeaturesOk & ~status());
  legacy_.store(true, std::memory_order_release);
  if ((added & kStatusDriverOk) != 0) driver_features_ &= legacy_features();
  status_.fetch_or(added, std::memory_order_acq_rel);
  if ((added & kStatusDriverOk) != 0) activate();
}

std::uint32_t DeviceCore::unseen_interrupts() const noexcept {
  const bool unseen = std::ranges::any_of(queues_, [](const Queue& queue) {
    return queue.runner->running() && queue.runner->mode() == NotifyMode::kKernel;
  });
  return unseen ? kInterruptUsedBuffer : 0;
}

/// The rings of the queues that the driver has enabled; nothing if one of them cannot be.
std::optional<DeviceCore::Rings> DeviceCore::make_rings() {
  const RingFeatures features{
      .indirect = (driver_features_ & feature_mask(kFeatureIndirectDesc)) != 0,
      .event_idx = (driver_features_ & feature_mask(kFeatureEventIdx)) != 0,
  };
  Rings rings(queues_.size());
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    if (!queues_[i].config.ready) continue;
    if (queues_[i].config.size > queue_max_size()) {
      cannot_start(
          i, fmt::format("queue size {} is over {}", queues_[i].config.size, queue_max_size()));
      return std::nullopt;
    }
    auto ring = SplitRing::activate(*wiring_.memory, queues_[i].config, features,
                                    queues_[i].runner->counters());
    if (!ring) {
      cannot_start(i, ring.error().message);
      return std::nullopt;
    }
    rings[i] = std::move(*ring);
  }
  return rings;
}

void DeviceCore::activate() {
  auto rings = make_rings();
  if (!rings) return;
  Carriage most = Carriage::kOurs;
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    const Carriage who = device_->carriage(static_cast<unsigned>(i), driver_features_);
    queues_[i].runner->set_mode(who == Carriage::kOurs ? wiring_.notify : NotifyMode::kKernel);
    most = std::max(most, who);
  }
  auto started = start_device(*rings);
  if (!started && most == Carriage::kKernelIfPossible) {
    const std::string why = started.error().message;
    for (Queue& queue : queues_) queue.runner->set_mode(wiring_.notify);
    started = start_device(*rings);
    if (started && !std::exchange(kernel_refusal_logged_, true)) {
      log::warn("{}: the kernel cannot serve it: {}; it is served in user space", traits().id, why);
    }
  }
  if (!started) host_refuses(started.error().message);
}

/// The host's fault, or a driver that wants what cannot be: told once, since a driver can repeat
/// it.
void DeviceCore::host_refuses(const std::string& why) {
  if (!std::exchange(host_fault_logged_, true)) log::error("{}: {}", traits().id, why);
  needs_reset();
}

/// If it fails, nothing runs, and the rings are where they were.
Status DeviceCore::start_device(Rings& rings) {
  // Armed before the queues start, since a refusal decides how they are run.
  if (!resting()) {
    if (auto armed = arm_all(); !armed) {
      disarm_all();
      return armed;
    }
  }
  std::vector<QueueRunner*> runners(queues_.size(), nullptr);
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    if (rings[i]) runners[i] = queues_[i].runner.get();
  }
  active_ = true;
  if (auto activated = device_->activate(driver_features_, runners); !activated) {
    give_up_start(rings);
    return activated;
  }
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    if (!rings[i]) continue;
    if (resting()) {
      queues_[i].resting = std::move(rings[i]);
      rings[i].reset();
      continue;
    }
    if (runners[i]->mode() == NotifyMode::kKernel) {
      if (auto carried = runners[i]->carry(*rings[i]); !carried) {
        give_up_start(rings);
        return carried;
      }
    } else {
      runners[i]->start(std::move(*rings[i]));
    }
    rings[i].reset();
    runners[i]->kick_once();
  }
  return {};
}

void DeviceCore::give_up_start(Rings& rings) {
  disarm_all();
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    if (auto ring = queues_[i].runner->stop()) rings[i] = std::move(ring);
  }
  active_ = false;
  device_->reset();
}

void DeviceCore::cannot_start(std::size_t queue, const std::string& why) {
  guest_faults_.fetch_add(1, std::memory_order_relaxed);
  if (!std::exchange(start_fault_logged_, true)) {
    log::warn("{}: queue {} cannot start: {}", traits().id, queue, why);
  }
  needs_reset();
}

/// Fails if a queue that the kernel is about to serve gets no doorbell; others fall back.
Status DeviceCore::arm_all() {
  if (!client_->doorbells_reachable()) return {};
  // Those that cannot do without come first.
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    Queue& queue = queues_[i];
    if (!queue.config.ready || queue.armed || queue.runner->mode() != NotifyMode::kKernel) continue;
    auto armed = client_->arm_doorbell(static_cast<unsigned>(i), queue.runner->doorbell());
    queue.armed = armed.has_value();
    // A device that runs already goes on: its exits are passed on by notify().
    if (!armed && active_) {
      log_refusal(i, "is notified by exits of its vCPUs", armed.error().message);
      continue;
    }
    if (!armed) {
      return fail(fmt::format("queue {}: {}", i, armed.error().message), armed.error().code);
    }
  }
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    Queue& queue = queues_[i];
    if (!queue.config.ready || queue.armed || queue.runner->mode() != NotifyMode::kIoEventFd) {
      continue;
    }
    const auto armed = client_->arm_doorbell(static_cast<unsigned>(i), queue.runner->doorbell());
    queue.armed = armed.has_value();
    if (queue.armed) continue;
    log_refusal(i, "is notified synchronously", armed.error().message);
    // A queue that runs already keeps its thread: its exits are passed on by notify().
    if (!queue.runner->running()) queue.runner->set_mode(NotifyMode::kSync);
  }
  return {};
}

void DeviceCore::log_refusal(std::size_t queue, std::string_view so, std::string_view why) {
  if (std::exchange(refusal_logged_, true)) return;
  log::warn("{}: queue {} {}: {}", traits().id, queue, so, why);
}

void DeviceCore::disarm_all() noexcept {
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    Queue& queue = queues_[i];
    if (!std::exchange(queue.armed, false)) continue;
    client_->disarm_doorbell(static_cast<unsigned>(i), queue.runner->doorbell());
  }
}

void DeviceCore::reset_locked() {
  disarm_all();
  for (Queue& queue : queues_) {
    if (!queue.runner) return;  // create() failed half-way
    queue.runner->stop();
    queue.resting.reset();
    queue.config = QueueConfig{};
    queue.config.size = queue_max_size();
    queue.runner->set_mode(wiring_.notify);
  }
  if (std::exchange(active_, false)) device_->reset();
  // A kick that was on its way when the doorbell was taken off belongs to the old life.
  for (Queue& queue : queues_) queue.runner->doorbell().consume();
  driver_features_ = 0;
  legacy_.store(false, std::memory_order_release);
  paused_ = false;
  client_->device_was_reset();
  status_.store(0, std::memory_order_release);
}

void DeviceCore::reset() {
  const std::lock_guard<std::mutex> hold(lock_);
  reset_locked();
}

void DeviceCore::reset_queue(std::uint32_t index) {
  const std::lock_guard<std::mutex> hold(lock_);
  if (index >= queues_.size()) return;
  Queue& queue = queues_[index];
  if (std::exchange(queue.armed, false)) {
    client_->disarm_doorbell(index, queue.runner->doorbell());
  }
  queue.runner->stop();
  queue.resting.reset();
  queue.config.ready = false;
}

void DeviceCore::rest() {
  disarm_all();
  for (Queue& queue : queues_) {
    if (auto ring = queue.runner->stop()) queue.resting = std::move(ring);
  }
}

Status DeviceCore::go_on(Queue& queue) {
  if (!queue.resting) return {};
  if (queue.runner->mode() == NotifyMode::kKernel) {
    if (auto carried = queue.runner->carry(*queue.resting); !carried) return carried;
  } else {
    queue.runner->start(std::move(*queue.resting));
  }
  queue.resting.reset();
  return {};
}

void DeviceCore::go_on() {
  if (!active_) return;
  (void)arm_all();
  for (Queue& queue : queues_) {
    if (auto resumed = go_on(queue); !resumed) {
      host_refuses("it cannot be served any more: " + resumed.error().message);
    }
    if (!queue.runner->running()) continue;
    // The driver may have rung, or missed our ring, while nobody was there.
    queue.runner->kick_once();
    queue.runner->interrupt_once();
  }
}

void DeviceCore::pause() {
  const std::lock_guard<std::mutex> hold(lock_);
  const bool rested = resting();
  paused_ = true;
  if (!rested) rest();
}

void DeviceCore::resume() {
  const std::lock_guard<std::mutex> hold(lock_);
  if (!std::exchange(paused_, false)) return;
  if (!resting()) go_on();
}

void DeviceCore::set_memory_access(MemoryAccess access) {
  const std::lock_guard<std::mutex> hold(lock_);
  const bool rested = resting();
  access_ = access;
  if (rested == resting()) return;
  if (rested) {
    go_on();
  } else {
    rest();
  }
}

void DeviceCore::notify(std::uint32_t index) noexcept {
  if (index >= queues_.size() || !queues_[index].runner->running()) {
    guest_fault("kicks a queue that does not run");
    return;
  }
  queues_[index].runner->kick();
}

void DeviceCore::set_queue_vector(std::uint32_t index, std::uint16_t vector,
                                  const EventFd* event) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  if (index >= queues_.size()) {
    guest_fault("sets the vector of a queue that is absent");
    return;
  }
  queues_[index].config.msix_vector = vector;
  queues_[index].interrupt.point_at(event);
  queues_[index].runner->interrupt_changed();
}

void DeviceCore::guest_fault(const char* what) noexcept {
  if (guest_faults_.fetch_add(1, std::memory_order_relaxed) == 0) {
    log::warn("{}: the driver {}: ignored, as will be others like it", traits().id, what);
  }
}

QueueConfig DeviceCore::queue(std::uint32_t index) const noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  return index < queues_.size() ? queues_[index].config : QueueConfig{};
}

void DeviceCore::read_config(std::uint32_t offset, std::span<std::byte> data) noexcept {
  std::ranges::fill(data, std::byte{0});
  const std::uint32_t size = traits().config_bytes;
  if (offset >= size) return;
  device_->read_config(offset, data.first(std::min<std::size_t>(data.size(), size - offset)));
}

void DeviceCore::write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept {
  const std::uint32_t size = traits().config_bytes;
  if (offset >= size || data.size() > size - offset) {
    guest_fault("writes past the device's configuration");
    return;
  }
  device_->write_config(offset, data);
}

void DeviceCore::needs_reset() noexcept {
  status_.fetch_or(kStatusNeedsReset, std::memory_order_acq_rel);
  client_->raise_config_interrupt();
}

void DeviceCore::queue_broken() noexcept { needs_reset(); }

void DeviceCore::config_changed() noexcept {
  config_generation_.fetch_add(1, std::memory_order_acq_rel);
  // Before DRIVER_OK the driver reads it all anyway.
  if (driver_ok()) client_->raise_config_interrupt();
}

}  // namespace bellhop
