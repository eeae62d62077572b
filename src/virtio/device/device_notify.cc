#include "virtio/device/device_life.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "virtio/ring/split_ring.h"

// How the queues of a DeviceLife are notified: their doorbells, and their modes.

namespace bellhop {

namespace {

constexpr std::string_view kByExits = "is notified by exits of its vCPUs";

}  // namespace

// ---- doorbells ----

Status DeviceLife::arm(std::size_t index) {
  Queue& queue = queues_[index];
  auto armed = doorbells_->arm_doorbell(
      static_cast<unsigned>(index), server(static_cast<unsigned>(index)), queue.runner->doorbell());
  queue.armed = armed.has_value();
  return armed;
}

void DeviceLife::tell_refusal(std::size_t queue, std::string_view so, std::string_view why) {
  log_.warn("{}: queue {} {}: {}", traits().id, queue, so, why);
}

/// Before activation: what others serve gets no kick without a doorbell.
Status DeviceLife::arm_offloaded() {
  if (!doorbells_->doorbells_reachable()) return {};
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    if (!queues_[i].config.ready || queues_[i].armed || !queues_[i].is_offloaded()) continue;
    if (auto armed = arm(i); !armed) {
      return fail(fmt::format("queue {}: {}", i, armed.error().message), armed.error().code);
    }
  }
  return {};
}

/// Before activation: a queue that gets no doorbell is drained by the vCPU that kicks it; unless it
/// is to be polled, when its few kicks are passed on.
void DeviceLife::arm_and_choose_drains() {
  if (!doorbells_->doorbells_reachable()) return;
  for (std::size_t i = 0; i < queues_.size(); ++i) {
    Queue& queue = queues_[i];
    if (!queue.config.ready || queue.armed || queue.is_offloaded()) continue;
    if (queue.runner->drain() == Drain::kByVcpu) continue;
    const auto armed = arm(i);
    if (armed) continue;
    if (queue.mode == NotifyMode::kPoll) {
      tell_refusal(i, kByExits, armed.error().message);
      continue;
    }
    tell_refusal(i, "is notified synchronously", armed.error().message);
    set_mode(queue, NotifyMode::kSync);
  }
}

/// Of a started device: what the host refuses now changes nothing but the way of kicks, which
/// notify() passes on. Those that cannot do without come first.
void DeviceLife::rearm_all() noexcept {
  if (!doorbells_->doorbells_reachable()) return;
  for (const bool offloaded : {true, false}) {
    for (std::size_t i = 0; i < queues_.size(); ++i) {
      Queue& queue = queues_[i];
      if (!queue.config.ready || queue.armed || queue.is_offloaded() != offloaded) continue;
      if (!offloaded && queue.runner->drain() == Drain::kByVcpu) continue;
      if (auto armed = arm(i); !armed) {
        tell_refusal(i, kByExits, armed.error().message);
      }
    }
  }
}

void DeviceLife::disarm(std::size_t index) noexcept {
  if (!std::exchange(queues_[index].armed, false)) return;
  doorbells_->disarm_doorbell(static_cast<unsigned>(index), queues_[index].runner->doorbell());
}

void DeviceLife::disarm_all() noexcept {
  for (std::size_t i = 0; i < queues_.size(); ++i) disarm(i);
}

// ---- how a queue is notified ----

/// Of a queue that does not run.
void DeviceLife::set_mode(Queue& queue, NotifyMode mode) noexcept {
  queue.runner->set_drain(mode == NotifyMode::kSync ? Drain::kByVcpu : Drain::kByIoThread);
  // Of an adaptive queue's ways each is to be one thing: the one without looking, and the one with.
  const bool adaptive = queue.wish.load(std::memory_order_relaxed).mode == NotifyMode::kAdaptive;
  queue.runner->set_look(mode == NotifyMode::kPoll ? Look::kAlways
                         : adaptive                ? Look::kNever
                                                   : Look::kWhileItPays);
  queue.mode.store(mode, std::memory_order_relaxed);
}

/// Before its start.
void DeviceLife::set_first_mode(Queue& queue) noexcept {
  const NotifyMode wanted = queue.wish.load(std::memory_order_relaxed).mode;
  set_mode(queue, wanted == NotifyMode::kAdaptive ? NotifyMode::kIoEventFd : wanted);
}

bool DeviceLife::adaptive() const noexcept {
  return std::ranges::any_of(queues_, [](const Queue& queue) {
    return queue.wish.load(std::memory_order_relaxed).mode == NotifyMode::kAdaptive;
  });
}

/// Of a queue that runs, and that the device itself serves: has it notified in that mode, which
/// `change` sets while it stands still, unless it says an error.
template <class Change>
Status DeviceLife::change_over(unsigned index, NotifyMode mode, std::chrono::nanoseconds patience,
                               Change&& change) {
  Queue& queue = queues_[index];
  // Before the ring stops: what is refused must have changed nothing.
  const bool arms = mode != NotifyMode::kSync && !queue.armed && doorbells_->doorbells_reachable();
  if (arms) {
    if (auto armed = arm(index); !armed && mode != NotifyMode::kPoll) return armed;
  }
  queue.changing = true;
  const auto state = queue.runner->try_stop(patience);
  Status done;
  if (state) {
    done = change();
    if (queue.mode == NotifyMode::kSync) disarm(index);
    // A kick on its way to who drained until now is made good by kick_once().
    (void)queue.runner->doorbell().consume();
    queue.left = state;
    go_on(queue, *state);
  } else {
    done =
        fail(fmt::format("queue {}: requests are still under way after {} ms", index,
                         std::chrono::duration_cast<std::chrono::milliseconds>(patience).count()),
             EBUSY);
    if (arms) {
      disarm(index);
      queue.kick_once();  // for what the doorbell has heard meanwhile
    }
  }
  queue.changing = false;
  return done;
}

std::optional<std::uint16_t> DeviceLife::outstanding(unsigned index) const noexcept {
  const std::lock_guard<std::mutex> hold(lock_);
  if (index >= queues_.size() || ring_features().packed) return std::nullopt;
  const Queue& queue = queues_[index];
  if (queue.is_offloaded() || !queue.runner->running()) return std::nullopt;
  return SplitRing::outstanding(*wiring_.memory, queue.config);
}

bool DeviceLife::change_notify(unsigned index, NotifyMode mode, std::chrono::nanoseconds patience) {
  const std::lock_guard<std::mutex> hold(lock_);
  if (index >= queues_.size() || !adaptive(index) || quiet()) return false;
  if (mode == NotifyMode::kSync && !wiring_.has_vcpus) return false;
  Queue& queue = queues_[index];
  if (queue.is_offloaded() || !queue.runner->running()) return false;
  if (queue.mode == mode) return true;
  return change_over(index, mode, patience,
                     [&]() -> Status {
                       set_mode(queue, mode);
                       return {};
                     })
      .has_value();
}

Status DeviceLife::set_notify(unsigned index, NotifyWish wish, std::chrono::nanoseconds patience) {
  const std::lock_guard<std::mutex> hold(lock_);
  if (index >= queues_.size()) {
    return fail(fmt::format("there is no queue {}: it has {}", index, queues_.size()), ENOENT);
  }
  Queue& queue = queues_[index];
  const bool elsewhere = started_
                             ? queue.is_offloaded()
                             : device_->server(index, offered_features()).server != Server::kDevice;
  if (elsewhere) {
    return fail(fmt::format("queue {} is served elsewhere, which is told by ioeventfds", index),
                ENOTSUP);
  }
  const NotifyMode mode = wish.mode == NotifyMode::kAdaptive ? queue.mode.load() : wish.mode;
  const auto take = [&] { return take_wish(index, wish, mode); };
  if (queue.runner->running()) return change_over(index, mode, patience, take);
  // Kicks that nobody has heard are made good when it starts.
  (void)queue.runner->doorbell().consume();
  return take();
}

/// Of a queue that does not run.
Status DeviceLife::take_wish(unsigned index, NotifyWish wish, NotifyMode mode) {
  Queue& queue = queues_[index];
  const NotifyWish wish_before = queue.wish;
  const NotifyMode mode_before = queue.mode;
  const auto set = [&](NotifyWish wanted, NotifyMode in) {
    queue.wish = wanted;
    queue.runner->set_may_change(may_serve_on_vcpu(wanted.mode));
    set_mode(queue, in);
  };
  set(wish, mode);
  auto done = device_->sharing_changed(index, *queue.runner);
  if (!done) set(wish_before, mode_before);
  return done;
}

}  // namespace bellhop
