#include "virtio/device/device_life.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <string>
#include <utility>

#include "virtio/abi/ring.h"

namespace bellhop {

using namespace virtio;

bool DeviceLife::Queue::running() const noexcept {
  return is_offloaded() ? offloaded->running() : runner->running();
}

std::optional<RingState> DeviceLife::Queue::stop() {
  if (is_offloaded()) return offloaded->stop();
  auto state = runner->stop();
  if (state) left = state;
  return state;
}

void DeviceLife::Queue::kick_once() noexcept {
  is_offloaded() ? offloaded->kick() : runner->kick_once();
}

Result<std::unique_ptr<DeviceLife>> DeviceLife::create(std::unique_ptr<VirtioDevice> device,
                                                       DeviceWiring wiring, DoorbellHost& doorbells,
                                                       DeviceListener& listener) {
  std::unique_ptr<DeviceLife> life(
      new DeviceLife(std::move(device), std::move(wiring), doorbells, listener));
  life->device_->set_config_listener(life.get());
  for (std::size_t i = 0; i < life->queues_.size(); ++i) {
    Queue& queue = life->queues_[i];
    IoThread* const own = life->device_->own_thread(static_cast<unsigned>(i));
    auto runner = QueueRunner::create({
        .thread = own != nullptr ? own : life->wiring_.threads[i % life->wiring_.threads.size()],
        .drain = Drain::kByIoThread,
        .may_change = life->may_serve_on_vcpu(life->wiring_.notify),
        .interrupt = &queue.interrupt,
        .faults = life.get(),
        .doorbell = nullptr,
        .device = life->traits().id.c_str(),
        .queue = static_cast<unsigned>(i),
        .coalesce = life->wiring_.coalesce,
    });
    if (!runner) return forward(runner);
    queue.runner = std::move(*runner);
    queue.config.size = life->queue_max_size();
    queue.wish = {.mode = life->wiring_.notify, .optimize = life->wiring_.optimize};
  }
  return life;
}

DeviceLife::~DeviceLife() { reset(); }

std::uint64_t DeviceLife::offered_features() const noexcept {
  return traits().features | traits().ring_features | wiring_.ring_features;
}

RingFeatures DeviceLife::ring_features() const noexcept {
  return {.indirect = (features_ & feature_mask(kFeatureIndirectDesc)) != 0,
          .event_idx = (features_ & feature_mask(kFeatureEventIdx)) != 0,
          .packed = (features_ & feature_mask(kFeatureRingPacked)) != 0,
          .in_order = (features_ & feature_mask(kFeatureInOrder)) != 0};
}

bool DeviceLife::started() const noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  return started_;
}

// ---- start ----

Status DeviceLife::start(std::uint64_t features, HostFaults host_faults) {
  const std::lock_guard<std::mutex> hold(lock_);
  features_ = features;
  started_ = true;
  if (auto sound = check_rings(); !sound) return sound;
  auto done = start_with(Offload::kAsChosen);
  if (!done && host_faults == HostFaults::kLogged) tell_host_fault(done.error().message);
  refused_.store(!done, std::memory_order_relaxed);
  return done;
}

/// Whether every queue that the driver has enabled makes a ring.
Status DeviceLife::check_rings() {
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    if (!queues_[i].config.ready) continue;
    if (auto sound = check_ring(i); !sound) return sound;
  }
  return {};
}

Status DeviceLife::check_ring(std::size_t index) {
  const Queue& queue = queues_[index];
  std::string why;
  if (queue.config.size > queue_max_size()) {
    why = fmt::format("queue size {} is over {}", queue.config.size, queue_max_size());
  } else if (auto ring = Ring::activate(*wiring_.memory, queue.config, ring_features(),
                                        queue.runner->counters());
             !ring) {
    why = ring.error().message;
  } else {
    return {};
  }
  guest_faults_.fetch_add(1, std::memory_order_relaxed);
  log_.warn("{}: queue {} cannot start: {}", traits().id, index, why);
  return fail(why);
}

/// With `offload`, by the servers that the device chooses; if one of these cannot be had, and none
/// is required, by the device alone.
Status DeviceLife::start_with(Offload offload) {
  bool required = false;
  bool offloaded = false;
  Status chosen;
  for (unsigned i = 0; chosen && i < queues_.size(); ++i) {
    ServerChoice choice =
        offload == Offload::kAsChosen ? device_->server(i, features_) : ServerChoice{};
    // The kernel knows no such rings. Where it is required they are not offered; another process
    // has said itself whether it does.
    const bool own = ring_features().packed || ring_features().in_order;
    if (own && choice.server == Server::kKernel) {
      if (choice.required) {
        return fail("the kernel serves its queues, neither as packed rings nor in order");
      }
      choice = {};
    }
    offloaded |= choice.server != Server::kDevice;
    required |= choice.server != Server::kDevice && choice.required;
    set_first_mode(queues_[i]);
    chosen = choose_server(queues_[i], choice.server);
  }
  auto started = chosen ? activate() : chosen;
  if (started || !offloaded || required) return started;
  const std::string why = started.error().message;
  started = start_with(Offload::kNone);
  if (started) {
    log_.warn("{}: the kernel cannot serve it: {}; it is served in user space", traits().id, why);
  }
  return started;
}

Status DeviceLife::choose_server(Queue& queue, Server server) {
  if (server != Server::kDevice && !queue.offloaded) {
    auto made = OffloadedQueue::create({.thread = &queue.runner->thread(),
                                        .interrupt = &queue.interrupt,
                                        .faults = this,
                                        .counters = &queue.runner->counters(),
                                        .doorbell = &queue.runner->doorbell()});
    if (!made) return forward(made);
    queue.offloaded = std::move(*made);
  }
  // Release: who finds a server outside of the device finds the queue that it needs.
  queue.server.store(server, std::memory_order_release);
  return {};
}

/// Arms, activates the device, starts the queues. If it fails nothing runs.
Status DeviceLife::activate() {
  // Armed before the device is activated, since a refusal decides who drains. Where the doorbells
  // cannot be reached yet nobody knows: the I/O thread drains, whatever resume() finds.
  if (!quiet()) {
    if (auto armed = arm_offloaded(); !armed) {
      disarm_all();
      return armed;
    }
    arm_and_choose_drains();
  }
  std::vector<QueueRunner*> runners(queues_.size(), nullptr);
  std::vector<OffloadedQueue*> offloaded(queues_.size(), nullptr);
  bool any_offloaded = false;
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    Queue& queue = queues_[i];
    queue.in_use = queue.config.ready;
    if (!queue.in_use) continue;
    if (!queue.is_offloaded()) {
      runners[i] = queue.runner.get();
      continue;
    }
    offloaded[i] = queue.offloaded.get();
    any_offloaded = true;
  }
  active_ = true;
  Status done;
  if (any_offloaded) done = device_->offload(features_, offloaded);
  if (done) done = device_->activate(features_, runners);
  for (std::size_t i = 0; done && i < queues_.size(); ++i) {
    Queue& queue = queues_[i];
    if (!queue.config.ready) continue;
    if (quiet()) {
      queue.quiet = RingState{};
    } else if (done = start_queue(queue, {}); done) {
      queue.kick_once();
    }
  }
  if (!done) abandon_start();
  return done;
}

Status DeviceLife::start_queue(Queue& queue, RingState state) {
  RingFeatures features = ring_features();
  // The order is kept by who serves it.
  if (queue.is_offloaded()) features.in_order = false;
  auto ring = Ring::activate(*wiring_.memory, queue.config, features, queue.runner->counters(),
                             state, queue.inflight, queue.log);
  if (!ring) return forward(ring);
  if (queue.is_offloaded()) return queue.offloaded->start(ring->areas(), ring->state());
  if (queue.left != state) queue.runner->begin_anew();
  queue.runner->start_trace(*wiring_.memory, queue.config, ring_features());
  queue.runner->start(std::move(*ring));
  return {};
}

void DeviceLife::abandon_start() noexcept {
  disarm_all();
  for (Queue& queue : queues_) {
    (void)queue.stop();
    queue.quiet.reset();
  }
  active_ = false;
  device_->reset();
}

/// The host's fault, or a driver that wants what cannot be.
void DeviceLife::tell_host_fault(const std::string& why) { log_.error("{}: {}", traits().id, why); }

// ---- the times of requests ----

void DeviceLife::trace_requests() {
  for (Queue& queue : queues_) {
    queue.runner->set_trace(std::make_unique<RequestTrace>(queue_max_size()));
  }
}

void DeviceLife::set_driver_clock(std::uint64_t ahead) noexcept {
  for (Queue& queue : queues_) {
    if (RequestTrace* const trace = queue.runner->trace()) trace->set_driver_clock(ahead);
  }
}

// ---- quiesce, resume, reset ----

void DeviceLife::quiesce_all() {
  disarm_all();
  for (Queue& queue : queues_) {
    if (auto state = queue.stop()) queue.quiet = *state;
  }
}

void DeviceLife::resume_all() {
  if (!active_) return;
  rearm_all();
  for (Queue& queue : queues_) {
    if (!queue.quiet || !go_on(queue, *queue.quiet)) continue;
    queue.quiet.reset();
    // The driver may have missed our interrupt while nobody was there.
    queue.interrupt.raise();
  }
}

/// Serves a ring again from where it stands, with what was offered while nobody was there. False:
/// the host refuses, or the ring has gone.
bool DeviceLife::go_on(Queue& queue, RingState state) {
  if (auto resumed = start_queue(queue, state); !resumed) {
    refused_.store(true, std::memory_order_relaxed);
    tell_host_fault("it cannot be served any more: " + resumed.error().message);
    listener_->needs_reset();
    return false;
  }
  queue.kick_once();
  return true;
}

std::optional<RingState> DeviceLife::quiesce_queue(std::uint32_t index) {
  const std::lock_guard<std::mutex> hold(lock_);
  if (index >= queues_.size()) return std::nullopt;
  Queue& queue = queues_[index];
  disarm(index);
  if (queue.quiet) return std::exchange(queue.quiet, std::nullopt);
  return queue.stop();
}

Status DeviceLife::resume_queue(std::uint32_t index, RingState state) {
  const std::lock_guard<std::mutex> hold(lock_);
  if (index >= queues_.size() || !active_ || queues_[index].running()) {
    return fail(fmt::format("{}: queue {} is not one that was stopped", traits().id, index));
  }
  Queue& queue = queues_[index];
  if (quiet()) {
    queue.quiet = state;
    return {};
  }
  rearm_all();
  if (auto started = start_queue(queue, state); !started) return started;
  queue.kick_once();
  queue.interrupt.raise();
  return {};
}

// ---- rings that come one by one ----

Status DeviceLife::open(std::uint64_t features, unsigned queues) {
  const std::lock_guard<std::mutex> hold(lock_);
  assert(queues <= queues_.size());
  if (started_) return fail(fmt::format("{}: it has been started already", traits().id));
  features_ = features;
  started_ = true;
  active_ = true;
  std::vector<QueueRunner*> runners(queues_.size(), nullptr);
  Status done;
  for (unsigned i = 0; done && i < queues; ++i) {
    if (device_->server(i, features).required) {
      done =
          fail(fmt::format("{}: the kernel cannot serve rings that come one by one", traits().id));
      break;
    }
    set_first_mode(queues_[i]);
    done = choose_server(queues_[i], Server::kDevice);
    runners[i] = queues_[i].runner.get();
  }
  if (done) done = device_->activate(features, runners);
  if (!done) abandon_start();
  return done;
}

Status DeviceLife::use_queues(unsigned count) {
  const std::lock_guard<std::mutex> hold(lock_);
  if (!active_) return fail(fmt::format("{}: it is not open", traits().id));
  return device_->use_queues(count);
}

Status DeviceLife::set_queue(std::uint32_t index, const QueueConfig& config) {
  const std::lock_guard<std::mutex> hold(lock_);
  if (index >= queues_.size() || queues_[index].running()) {
    return fail(fmt::format("{}: queue {} is absent or runs", traits().id, index));
  }
  if (config.size > queue_max_size()) {
    return fail(fmt::format("{}: queue {}: size {} is over {}", traits().id, index, config.size,
                            queue_max_size()));
  }
  queues_[index].config = config;
  return {};
}

void DeviceLife::set_doorbell(std::uint32_t index, const EventFd* doorbell) {
  const std::lock_guard<std::mutex> hold(lock_);
  queues_[index].runner->set_doorbell(doorbell);
}

void DeviceLife::set_inflight(std::uint32_t index, std::optional<InflightQueue> inflight) {
  const std::lock_guard<std::mutex> hold(lock_);
  assert(!queues_[index].running());
  queues_[index].inflight = inflight;
}

void DeviceLife::set_log(std::uint32_t index, const std::optional<RingLog>& log) {
  const std::lock_guard<std::mutex> hold(lock_);
  assert(!queues_[index].running());
  queues_[index].log = log;
}

void DeviceLife::set_memory(const GuestMemory& memory) {
  const std::lock_guard<std::mutex> hold(lock_);
  assert(std::ranges::none_of(queues_, [](const Queue& queue) { return queue.running(); }));
  wiring_.memory = &memory;
}

/// Stops it; all that the driver has said of it is forgotten.
void DeviceLife::forget_queue(std::size_t index) {
  Queue& queue = queues_[index];
  disarm(index);
  (void)queue.stop();
  queue.quiet.reset();
  queue.left.reset();
  queue.inflight.reset();
  queue.log.reset();
  queue.config = QueueConfig{};
  queue.config.size = queue_max_size();
}

void DeviceLife::reset_locked() {
  disarm_all();
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    if (!queues_[i].runner) return;  // create() failed half-way
    forget_queue(i);
  }
  if (std::exchange(active_, false)) device_->reset();
  for (Queue& queue : queues_) {
    queue.server = Server::kDevice;
    queue.in_use = false;
    queue.anew = false;
    // A kick that was on its way when the doorbell was taken off belongs to the old life.
    (void)queue.runner->doorbell().consume();
  }
  features_ = 0;
  refused_.store(false, std::memory_order_relaxed);
  started_ = false;
  paused_ = false;
}

void DeviceLife::reset() {
  const std::lock_guard<std::mutex> hold(lock_);
  reset_locked();
}

std::vector<std::byte> DeviceLife::save_state() {
  const std::lock_guard<std::mutex> hold(lock_);
  return device_->save_state();
}

Status DeviceLife::load_state(std::span<const std::byte> state) {
  const std::lock_guard<std::mutex> hold(lock_);
  reset_locked();
  return device_->load_state(state);
}

void DeviceLife::disable_queue(std::uint32_t index) {
  (void)quiesce_queue(index);
  const std::lock_guard<std::mutex> hold(lock_);
  if (index >= queues_.size()) return;
  queues_[index].config.ready = false;
  queues_[index].left.reset();
}

// ---- one queue's reset ----

bool DeviceLife::may_change(std::uint32_t index) noexcept {
  if (index < queues_.size() && !queues_[index].config.ready &&
      (!started_ || queues_[index].anew)) {
    return true;
  }
  guest_fault("writes registers of a queue that is absent or in use");
  return false;
}

void DeviceLife::reset_queue(std::uint32_t index) {
  const std::lock_guard<std::mutex> hold(lock_);
  if (index >= queues_.size()) return guest_fault("resets a queue that is absent");
  Queue& queue = queues_[index];
  forget_queue(index);
  // As for the whole device: what is left in it belongs to the ring that has gone.
  (void)queue.runner->doorbell().consume();
  // Others have no handler, and the device knows only of those that it was activated with.
  queue.anew = active_ && queue.in_use;
}

void DeviceLife::enable_queue(std::uint32_t index) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  if (!may_change(index)) return;
  Queue& queue = queues_[index];
  if (started_ && !check_ring(index)) return listener_->needs_reset();
  queue.config.ready = true;
  if (!started_) return;
  if (quiet()) {
    queue.quiet = RingState{};
    return;
  }
  rearm_all();
  go_on(queue, {});
}

void DeviceLife::pause() {
  const std::lock_guard<std::mutex> hold(lock_);
  const bool was_quiet = quiet();
  paused_ = true;
  if (!was_quiet) quiesce_all();
}

void DeviceLife::resume() {
  const std::lock_guard<std::mutex> hold(lock_);
  if (!std::exchange(paused_, false)) return;
  if (!quiet()) resume_all();
}

void DeviceLife::set_memory_access(MemoryAccess access) {
  const std::lock_guard<std::mutex> hold(lock_);
  const bool was_quiet = quiet();
  access_ = access;
  if (was_quiet == quiet()) return;
  if (was_quiet) {
    resume_all();
  } else {
    quiesce_all();
  }
}

// ---- the rest ----

void DeviceLife::notify(std::uint32_t index) noexcept {
  if (index >= queues_.size() || !queues_[index].running()) {
    // What the host has refused is told once. The driver that has not seen it yet does no wrong.
    if (index < queues_.size() && refused_.load(std::memory_order_relaxed)) return;
    // Stopped for a moment only: whoever changes it kicks it once when it runs again.
    if (index < queues_.size() && (queues_[index].changing || queues_[index].running())) return;
    guest_fault("kicks a queue that does not run");
    return;
  }
  Queue& queue = queues_[index];
  if (queue.is_offloaded()) {
    queue.runner->counters().kicks_by_exit.add();
    queue.offloaded->kick();
  } else {
    queue.runner->kick();
  }
}

void DeviceLife::set_queue_interrupt(std::uint32_t index, const EventFd* event) noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  if (index >= queues_.size()) {
    guest_fault("sets the vector of a queue that is absent");
    return;
  }
  Queue& queue = queues_[index];
  queue.interrupt.point_at(event);
  if (queue.offloaded) queue.offloaded->interrupt_changed();
}

void DeviceLife::guest_fault(const char* what) noexcept {
  guest_faults_.fetch_add(1, std::memory_order_relaxed);
  log_.warn("{}: the driver {}: ignored", traits().id, what);
}

QueueConfig DeviceLife::queue(std::uint32_t index) const noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  return index < queues_.size() ? queues_[index].config : QueueConfig{};
}

void DeviceLife::read_config(std::uint32_t offset, std::span<std::byte> data) noexcept {
  std::ranges::fill(data, std::byte{0});
  const std::uint32_t size = traits().config_bytes;
  if (offset >= size) return;
  device_->read_config(offset, data.first(std::min<std::size_t>(data.size(), size - offset)));
}

void DeviceLife::write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept {
  const std::uint32_t size = traits().config_bytes;
  if (offset >= size || data.size() > size - offset) {
    guest_fault("writes past the device's configuration");
    return;
  }
  device_->write_config(offset, data);
}

void DeviceLife::config_changed() noexcept {
  config_generation_.fetch_add(1, std::memory_order_acq_rel);
  listener_->config_changed();
}

}  // namespace bellhop
