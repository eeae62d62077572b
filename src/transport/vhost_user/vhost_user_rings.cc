// The rings of a VhostUserDevice: what a front end tells of them, and when they run.
#include <fmt/format.h>

#include <memory>
#include <tuple>
#include <utility>

#include "transport/vhost_user/peer_event.h"
#include "transport/vhost_user/vhost_user_device.h"
#include "virtio/abi/ring.h"

namespace bellhop {

using namespace vhost_user;

/// 4.2 of the specification: without protocol features there is nobody to enable a ring.
bool VhostUserDevice::enabled(const PeerRing& ring) const noexcept {
  return ring.enable.value_or((features_ & kProtocolBit) == 0);
}

Result<QueueConfig> VhostUserDevice::find_ring(const PeerRing& ring) const {
  QueueConfig config{.size = ring.size, .ready = true, .desc = {}, .driver = {}, .device = {}};
  for (const auto& [user, guest, name] :
       {std::tuple(ring.at->desc, &config.desc, "descriptor table"),
        std::tuple(ring.at->avail, &config.driver, "available ring"),
        std::tuple(ring.at->used, &config.device, "used ring")}) {
    const auto found = memory_.guest_address(user);
    if (!found) return fail(fmt::format("the {} at {:#x} lies in no region", name, user));
    *guest = *found;
  }
  return config;
}

Status VhostUserDevice::start_ring(unsigned index) {
  PeerRing& ring = rings_[index];
  const bool complete = features_told_ && ring.kick != nullptr && ring.at && ring.size != 0 &&
                        enabled(ring) && memory_.memory() != nullptr && (!logs() || written_);
  if (!complete || ring.served) return {};
  const auto config = find_ring(ring);
  if (!config) return forward(config);
  if (auto taken = take_base(ring); !taken) return taken;
  const auto inflight = inflight_of(index);
  if (!inflight) return forward(inflight);
  std::optional<RingLog> log;
  if (logs()) {
    auto found = log_of(ring, *config, *written_);
    if (!found) return forward(found);
    log = *found;
  }
  if (!life_->started()) {
    if (auto opened = life_->open(features_ & ~kOursAlone, ring_count()); !opened) {
      life_->reset();
      return opened;
    }
    in_use_ = 0;
  }
  if (auto set = life_->set_queue(index, *config); !set) return set;
  // Where a split ring's used ring stands nobody tells: it is in the ring, also after a restart of
  // ours. A packed ring's place is in its base.
  const GuestAddress used_index(config->device.value() + virtio::kUsedIdxOffset);
  if (!packed() && !memory_.memory()->read(
                       used_index, std::as_writable_bytes(std::span(&ring.rest.next_used, 1)))) {
    return fail("its used ring ends outside of memory");
  }
  life_->set_doorbell(index, ring.kick.get());
  life_->set_inflight(index, *inflight);
  life_->set_log(index, log);
  auto started = life_->resume_queue(index, ring.rest);
  ring.served = started.has_value();
  if (!started) life_->set_doorbell(index, nullptr);
  return started;
}

Status VhostUserDevice::take_base(PeerRing& ring) const {
  if (!ring.base) return {};
  if (!packed() && *ring.base > UINT16_MAX) {
    return fail(fmt::format("index {} of a split ring", *ring.base));
  }
  ring.rest = packed() ? ring_state_of_packed_base(*ring.base)
                       : RingState{.next_avail = static_cast<std::uint16_t>(*ring.base)};
  ring.base.reset();
  return {};
}

Result<std::optional<InflightQueue>> VhostUserDevice::inflight_of(unsigned index) const {
  if (!inflight_) return std::optional<InflightQueue>();
  return inflight_->queue(index, packed());
}

/// As many as can; the first that cannot is told.
Status VhostUserDevice::start_rings() {
  Status all;
  for (unsigned i = 0; i < ring_count(); ++i) {
    Status started = start_ring(i);
    if (started) continue;
    tell_ring_error(i);
    if (all) all = fail(fmt::format("ring {}: {}", i, started.error().message));
  }
  return all;
}

void VhostUserDevice::stop_ring(unsigned index) {
  rings_[index].served = false;
  const auto rest = life_->quiesce_queue(index);
  if (!rest) return;
  rings_[index].rest = *rest;
  life_->set_doorbell(index, nullptr);
  life_->set_inflight(index, std::nullopt);
  life_->set_log(index, std::nullopt);
  // One that was stopped before it had taken all of them again has some in flight.
  const auto inflight = inflight_of(index);
  rings_[index].settled = inflight && *inflight && (*inflight)->idle(packed());
}

void VhostUserDevice::stop_rings() {
  for (unsigned i = 0; i < ring_count(); ++i) stop_ring(i);
}

template <class Change>
Status VhostUserDevice::change_ring(unsigned index, Change&& change) {
  stop_ring(index);
  change(rings_[index]);
  auto started = start_ring(index);
  if (!started) tell_ring_error(index);
  return started;
}

Status VhostUserDevice::on(const SetVringNum& told) {
  if (told.num == 0 || told.num > life_->queue_max_size()) {
    return fail(
        fmt::format("ring {}: size {}, not 1 to {}", told.ring, told.num, life_->queue_max_size()));
  }
  return change_ring(told.ring,
                     [&](PeerRing& ring) { ring.size = static_cast<std::uint16_t>(told.num); });
}

Status VhostUserDevice::on(const SetVringBase& told) {
  if (features_told_ && !packed() && told.base > UINT16_MAX) {
    return fail(fmt::format("ring {}: index {} of a split ring", told.ring, told.base));
  }
  return change_ring(told.ring, [&](PeerRing& ring) {
    ring.base = told.base;
    if (!ring.settled) return;
    // The front end knows where the ring stood, and may mean another place now.
    if (const auto inflight = inflight_of(told.ring); inflight && *inflight) (*inflight)->forget();
    ring.settled = false;
  });
}

Status VhostUserDevice::on(const SetVringAddr& told) {
  if ((told.at.flags & ~kVringLog) != 0) {
    return fail(fmt::format("ring {}: flags {:#x} are not known", told.ring, told.at.flags));
  }
  return change_ring(told.ring, [&](PeerRing& ring) { ring.at = told.at; });
}

Status VhostUserDevice::on(const SetVringEnable& told) {
  if (rings_[told.ring].enable == told.enable) return start_ring(told.ring);
  return change_ring(told.ring, [&](PeerRing& ring) { ring.enable = told.enable; });
}

Status VhostUserDevice::on(const VringKick& told) {
  if (!agreed(kProtocolInbandNotifications)) return fail("INBAND_NOTIFICATIONS was not agreed on");
  if (!rings_[told.ring].kick) {
    if (auto set = set_kick(told.ring, UniqueFd()); !set) return set;
  }
  rings_[told.ring].kick->signal();
  return {};
}

Result<VringState> VhostUserDevice::on(const GetVringBase& asked) {
  stop_ring(asked.ring);
  PeerRing& ring = rings_[asked.ring];
  ring.kick.reset();  // the next one starts it again
  if (auto taken = take_base(ring); !taken) return forward(taken);
  ring.rest.broken = false;
  return VringState{.index = asked.ring,
                    .num = packed() ? packed_base(ring.rest) : ring.rest.next_avail};
}

Status VhostUserDevice::on(SetVringEvent& told) {
  if (told.which == VringEvent::kKick) return set_kick(told.ring, std::move(told.event));
  if (told.which == VringEvent::kCall) return set_call(told.ring, std::move(told.event));
  if (!told.event.valid()) {
    rings_[told.ring].err.reset();
    return {};
  }
  auto event = take_peer_event(std::move(told.event));
  if (!event) return forward(event);
  rings_[told.ring].err = std::make_unique<EventFd>(std::move(*event));
  return {};
}

Status VhostUserDevice::set_kick(unsigned index, UniqueFd fd) {
  const bool in_band = !fd.valid() && agreed(kProtocolInbandNotifications);
  if (!fd.valid() && !in_band) {
    stop_ring(index);
    rings_[index].kick.reset();
    return fail(fmt::format("ring {}: no ring is served without a kick descriptor", index));
  }
  auto event = in_band ? EventFd::create() : take_peer_event(std::move(fd));
  if (!event) return forward(event);
  return change_ring(
      index, [&](PeerRing& ring) { ring.kick = std::make_unique<EventFd>(std::move(*event)); });
}

Status VhostUserDevice::set_call(unsigned index, UniqueFd fd) {
  if (!fd.valid()) return set_call_without_fd(index);
  if (PeerSocket::is_one(fd)) {
    auto ours = EventFd::create();
    if (!ours) return forward(ours);
    point_call(index, {.event = std::make_unique<EventFd>(std::move(*ours)),
                       .socket = PeerSocket(std::move(fd))});
    return {};
  }
  auto event = take_peer_event(std::move(fd));
  if (!event) return forward(event);
  point_call(index, {.event = std::make_unique<EventFd>(std::move(*event))});
  return {};
}

Status VhostUserDevice::set_call_without_fd(unsigned index) {
  PeerCall call;
  if (agreed(kProtocolInbandNotifications)) {
    auto event = EventFd::create();
    if (!event) return forward(event);
    call = {.event = std::make_unique<EventFd>(std::move(*event)), .in_band = true};
  }
  point_call(index, std::move(call));
  return {};
}

void VhostUserDevice::add_watched(std::vector<pollfd>& to) const {
  if (state_ && state_->fd() >= 0) {
    to.push_back({.fd = state_->fd(), .events = POLLIN, .revents = 0});
  }
  for (const PeerRing& ring : rings_) {
    if (!ring.call.relayed()) continue;
    to.push_back({.fd = ring.call.event->get(), .events = POLLIN, .revents = 0});
  }
}

void VhostUserDevice::look_at_watched() {
  if (state_) state_->read();
  relay_calls();
}

void VhostUserDevice::relay_calls() noexcept {
  for (unsigned i = 0; i < ring_count(); ++i) {
    const PeerCall& call = rings_[i].call;
    if (!call.relayed() || call.event->consume() == 0) continue;
    if (call.socket) {
      call.socket->call();
    } else {
      tell_ring(kBackendVringCall, i);
    }
  }
}

void VhostUserDevice::tell_ring(std::uint32_t request, unsigned index) {
  const VringState ring{.index = index, .num = 0};
  tell(request, std::as_bytes(std::span(&ring, 1)));
}

void VhostUserDevice::tell_ring_error(unsigned index) {
  if (rings_[index].err) {
    rings_[index].err->signal();
  } else if (agreed(kProtocolInbandNotifications)) {
    tell_ring(kBackendVringErr, index);
  }
}

void VhostUserDevice::point_call(unsigned index, PeerCall call) {
  life_->set_queue_interrupt(index, call.event.get());
  std::swap(rings_[index].call, call);
  // The I/O thread may be about to signal the one before.
  life_->thread(index).run_sync([] {});
  // What was finished while there was no call, or another one, was told to nobody who listens.
  const EventFd* const event = rings_[index].call.event.get();
  if (event != nullptr && rings_[index].served) event->signal();
}

}  // namespace bellhop
