#include "transport/vhost_user/vhost_user_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <type_traits>
#include <utility>
#include <variant>

#include "base/kernel_signal.h"
#include "transport/vhost_user/peer_event.h"
#include "vhost_user/message_names.h"
#include "virtio/abi/ring.h"

namespace bellhop {

using namespace vhost_user;

namespace {

/// How long a front end may leave a message of ours unread before it gets no more of them.
constexpr Channel::Patience kRequestPatience{1000};

/// A question's answer as it is sent.
std::span<const std::byte> bytes_of(const std::vector<std::byte>& bytes) { return bytes; }
template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  return std::as_bytes(std::span(&value, 1));
}

}  // namespace

Result<std::unique_ptr<VhostUserDevice>> VhostUserDevice::create(
    std::unique_ptr<VirtioDevice> device, DeviceWiring wiring, Options options) {
  assert(wiring.notify != NotifyMode::kSync);
  std::unique_ptr<VhostUserDevice> made(new VhostUserDevice(options));
  for (EventFd* const event : {&made->news_, &made->memory_lost_}) {
    auto created = EventFd::create();
    if (!created) return forward(created);
    *event = std::move(*created);
  }
  // Now rather than when a front end sends its first eventfd.
  if (const auto kernel = KernelSignal::get(); !kernel) return forward(kernel);
  for (unsigned i = 0; i < device->traits().queue_count; ++i) {
    if (!device->server(i, device->traits().features).required) continue;
    return fail(fmt::format("{}: the kernel's vhost cannot serve the rings of another VMM's guest",
                            device->traits().id));
  }
  wiring.memory = nullptr;
  wiring.has_vcpus = false;
  auto life = DeviceLife::create(std::move(device), std::move(wiring), *made, *made);
  if (!life) return forward(life);
  made->life_ = std::move(*life);
  const DeviceTraits& traits = made->life_->traits();
  made->rings_.resize(traits.queue_count - traits.front_end_queues);
  return made;
}

VhostUserDevice::~VhostUserDevice() {
  if (life_) disconnected();
}

unsigned VhostUserDevice::running() const noexcept {
  unsigned count = 0;
  for (unsigned i = 0; i < ring_count(); ++i) {
    if (life_->running(i)) ++count;
  }
  return count;
}

// ---- messages ----

Status VhostUserDevice::handle(Message& message, Channel& channel) {
  auto command = decode(message, ring_count());
  if (!command) return refuse(message, command.error(), channel);
  return std::visit(
      [&](auto& value) -> Status {
        const auto done = on(value);
        tell_queues_in_use();
        if (!done) return refuse(message, done.error(), channel);
        if constexpr (std::is_same_v<decltype(done), const Status>) {
          if (!wants_ack(message)) return {};
          return channel.send(message.request(), kReply, bytes_of(std::uint64_t{0}));
        } else if constexpr (std::is_same_v<decltype(done), const Result<InflightAnswer>>) {
          const int file = done->made.file.get();
          return channel.send(message.request(), kReply,
                              bytes_of(done->made.region).first(done->bytes), {&file, 1});
        } else if constexpr (std::is_same_v<decltype(done), const Result<UniqueFd>>) {
          const int file = done->get();
          return channel.send(message.request(), kReply, bytes_of(std::uint64_t{0}), {&file, 1});
        } else {
          return channel.send(message.request(), kReply, bytes_of(*done));
        }
      },
      *command);
}

void VhostUserDevice::tell_queues_in_use() {
  unsigned count = 0;
  while (count < ring_count() && rings_[count].served) ++count;
  // While all rest nothing is to be changed: they come back, or the device is reset.
  if (count == 0 || count == in_use_) return;
  in_use_ = count;
  if (auto used = life_->use_queues(count); !used) {
    log_.warn("{}: {} rings cannot be used: {}", id(), count, used.error().message);
  }
}

bool VhostUserDevice::wants_ack(const Message& message) const noexcept {
  return agreed(kProtocolReplyAck) && (message.header.flags & kNeedReply) != 0;
}

Status VhostUserDevice::refuse(const Message& message, const Error& why, Channel& channel) {
  refused_.add();
  log_.warn("{}: {} is refused: {}", id(), message_name(message.header.request), why.message);
  if (why.code == ECONNABORTED) return fail(why.message, why.code);
  // An answer without a configuration says that there is none.
  if (message.request() == Request::kGetConfig) return channel.send(message.request(), kReply, {});
  // These have answers that say no.
  if (message.request() == Request::kCheckDeviceState) {
    return channel.send(message.request(), kReply, bytes_of(kStateFailed));
  }
  if (message.request() == Request::kSetDeviceStateFd) {
    return channel.send(message.request(), kReply, bytes_of(kStateFailed | kStateNoFd));
  }
  // One that answers a command may say no, where the front end looks for that.
  const bool says_no = message.request() == Request::kSetLogBase && wants_ack(message);
  if (is_answered(message.header.request) && !says_no) {
    return fail(fmt::format("{} has no answer", message_name(message.header.request)), EPROTO);
  }
  if (!wants_ack(message)) return {};
  return channel.send(message.request(), kReply, bytes_of(std::uint64_t{1}));
}

// ---- what is offered, what is agreed on ----

std::uint64_t VhostUserDevice::offered_features() const noexcept {
  return (life_->offered_features() & ~life_->traits().front_end_features) | kOursAlone;
}

std::uint64_t VhostUserDevice::offered_protocol() const noexcept {
  std::uint64_t offered = 0;
  for (const unsigned bit : {kProtocolMq, kProtocolLogShmfd, kProtocolReplyAck, kProtocolBackendReq,
                             kProtocolInflightShmfd, kProtocolResetDevice,
                             kProtocolConfigureMemSlots, kProtocolStatus}) {
    offered |= std::uint64_t{1} << bit;
  }
  if (life_->traits().config_bytes != 0) offered |= std::uint64_t{1} << kProtocolConfig;
  if (life_->traits().keeps_state) offered |= std::uint64_t{1} << kProtocolDeviceState;
  if (options_.in_band) offered |= std::uint64_t{1} << kProtocolInbandNotifications;
  return offered;
}

Result<std::uint64_t> VhostUserDevice::on(const GetFeatures& /*asked*/) const {
  return offered_features();
}

Result<std::uint64_t> VhostUserDevice::on(const GetProtocolFeatures& /*asked*/) const {
  return offered_protocol();
}

Result<std::uint64_t> VhostUserDevice::on(const GetQueueNum& /*asked*/) const {
  // Of a NIC, too: QEMU compares it with pairs, and is content with more; Cloud Hypervisor with
  // rings, and is not content with less.
  return ring_count();
}

Result<std::uint64_t> VhostUserDevice::on(const GetMaxMemSlots& /*asked*/) const {
  return PeerMemory::kMaxRegions;
}

Status VhostUserDevice::on(const SetProtocolFeatures& told) {
  if (const std::uint64_t unknown = told.features & ~offered_protocol(); unknown != 0) {
    return fail(fmt::format("protocol features {:#x} are not offered", unknown));
  }
  constexpr std::uint64_t kInBand = std::uint64_t{1} << kProtocolInbandNotifications;
  constexpr std::uint64_t kNeededInBand =
      std::uint64_t{1} << kProtocolReplyAck | std::uint64_t{1} << kProtocolBackendReq;
  if ((told.features & kInBand) != 0 && (told.features & kNeededInBand) != kNeededInBand) {
    return fail("INBAND_NOTIFICATIONS without REPLY_ACK and BACKEND_REQ", ECONNABORTED);
  }
  const bool changed = ((protocol_ ^ told.features) & kInBand) != 0;
  protocol_ = told.features;
  for (unsigned i = 0; changed && i < ring_count(); ++i) {
    if (rings_[i].call.event && !rings_[i].call.in_band) continue;
    if (auto set = set_call_without_fd(i); !set) return set;
  }
  return {};
}

Status VhostUserDevice::on(const SetFeatures& told) {
  if (const std::uint64_t unknown = told.features & ~offered_features(); unknown != 0) {
    return fail(fmt::format("features {:#x} are not offered", unknown));
  }
  if ((told.features & kLogBit) != 0 && !agreed(kProtocolLogShmfd)) {
    return fail("LOG_ALL without LOG_SHMFD: there is no log that could be had");
  }
  if (features_told_ && told.features == features_) return {};
  stop_rings();
  const std::uint64_t changed = told.features ^ features_;
  if ((changed & ~kOursAlone) != 0) life_->reset();
  if (features_told_ && (changed & virtio::feature_mask(virtio::kFeatureRingPacked)) != 0) {
    // Places in rings of the other layout mean nothing.
    for (PeerRing& ring : rings_) ring.rest = {};
    if (inflight_) inflight_->forget();
  }
  features_ = told.features;
  features_told_ = true;
  return start_rings();
}

Result<std::uint64_t> VhostUserDevice::on(const GetStatus& /*asked*/) const {
  const auto needs_reset =
      needs_reset_.load(std::memory_order_relaxed) ? virtio::kStatusNeedsReset : 0U;
  return status_ | needs_reset;
}

Status VhostUserDevice::on(const SetStatus& told) {
  status_ = static_cast<std::uint8_t>(told.status);
  // A front end whose virtual machine rests says so, too: the device itself is reset by
  // RESET_DEVICE.
  if (status_ == 0) {
    stop_rings();
    needs_reset_.store(false, std::memory_order_relaxed);
  }
  return {};
}

Status VhostUserDevice::on(const SetOwner& /*told*/) { return {}; }

/// The specification's advice: no state is lost. A ring starts again with its next kick descriptor.
Status VhostUserDevice::on(const ResetOwner& /*told*/) {
  stop_rings();
  for (PeerRing& ring : rings_) ring.kick.reset();
  return {};
}

Status VhostUserDevice::on(const ResetDevice& /*told*/) {
  stop_rings();
  reset_device();
  for (PeerRing& ring : rings_) {
    ring.size = 0;
    ring.at.reset();
    ring.base.reset();
    ring.rest = {};
    ring.enable.reset();
    ring.kick.reset();
  }
  if (inflight_) inflight_->forget();
  features_ = 0;
  features_told_ = false;
  status_ = 0;
  needs_reset_.store(false, std::memory_order_relaxed);
  return {};
}

// ---- memory ----

template <class Change>
Status VhostUserDevice::change_memory(Change&& change) {
  stop_rings();
  Status changed = change();
  if (memory_.memory() != nullptr) life_->set_memory(*memory_.memory());
  // Rings that do not lie there are not the memory's fault: there may be more of it to come.
  if (auto started = start_rings(); !started) {
    log_.warn("{}: not served in this memory: {}", id(), started.error().message);
  }
  return changed;
}

Status VhostUserDevice::on(SetMemTable& told) {
  return change_memory([&] { return memory_.set(std::move(told.memory)); });
}

Status VhostUserDevice::on(AddMemReg& told) {
  return change_memory([&] { return memory_.add(std::move(told.memory)); });
}

Status VhostUserDevice::on(const RemMemReg& told) {
  return change_memory([&] { return memory_.remove(told.region); });
}

// ---- requests in flight ----

Result<VhostUserDevice::InflightAnswer> VhostUserDevice::on(const GetInflightFd& asked) const {
  if (!agreed(kProtocolInflightShmfd)) return fail("INFLIGHT_SHMFD was not agreed on");
  auto made = InflightMemory::make(asked.wanted, ring_count());
  if (!made) return forward(made);
  return InflightAnswer{std::move(*made), asked.bytes};
}

Status VhostUserDevice::on(SetInflightFd& told) {
  if (!agreed(kProtocolInflightShmfd)) return fail("INFLIGHT_SHMFD was not agreed on");
  auto mapped = InflightMemory::map(told.region, told.file, ring_count(), memory_lost_);
  if (!mapped) return forward(mapped);
  stop_rings();
  inflight_.emplace(std::move(*mapped));
  for (PeerRing& ring : rings_) ring.settled = false;
  return start_rings();
}

// ---- what is written, for a live migration ----

Result<RingLog> VhostUserDevice::log_of(const PeerRing& ring, const QueueConfig& config,
                                        const PeerMapping& log) const {
  const DirtyLog pages(log.begin(), log.bytes());
  for (const GuestMemory::Region& region : memory_.memory()->regions()) {
    if (!pages.covers(region.base, region.size)) {
      return fail(fmt::format("the log ends before the memory at {:#x}", region.base.value()));
    }
  }
  const bool elsewhere = (ring.at->flags & kVringLog) != 0;
  const GuestAddress device = elsewhere ? GuestAddress(ring.at->log) : config.device;
  const std::uint64_t bytes =
      packed() ? virtio::kPackedEventBytes : virtio::used_ring_bytes(config.size);
  if (!pages.covers(device, bytes)) {
    return fail(fmt::format("the log ends before the used ring at {:#x}", device.value()));
  }
  return RingLog{.pages = pages, .device = device, .changed = written_changed_.get()};
}

Result<std::uint64_t> VhostUserDevice::on(SetLogBase& told) {
  if (!agreed(kProtocolLogShmfd)) return fail("LOG_SHMFD was not agreed on");
  auto mapped = PeerMapping::map(told.file, told.log.mmap_offset, told.log.mmap_size,
                                 told.log.mmap_size, memory_lost_);
  if (!mapped) return forward(mapped);
  // Where rings run it must do for them: none may rest because of it, and none go on without one.
  for (unsigned i = 0; i < ring_count(); ++i) {
    if (!rings_[i].served) continue;
    const auto log = log_of(rings_[i], life_->queue(i), *mapped);
    if (!log) return fail(fmt::format("ring {}: {}", i, log.error().message));
  }
  // What is in flight goes into the log before it, which the front end reads once more.
  stop_rings();
  written_.emplace(std::move(*mapped));
  if (auto started = start_rings(); !started) return forward(started);
  return std::uint64_t{0};
}

Status VhostUserDevice::on(SetLogFd& told) {
  auto event = take_peer_event(std::move(told.event));
  if (!event) return forward(event);
  stop_rings();
  written_changed_ = std::make_unique<EventFd>(std::move(*event));
  return start_rings();
}

// ---- state of its own ----

Status VhostUserDevice::check_rings_rest() const {
  if (!agreed(kProtocolDeviceState)) return fail("DEVICE_STATE was not agreed on");
  if (std::ranges::any_of(rings_, &PeerRing::served)) return fail("there are rings that run");
  return {};
}

Result<UniqueFd> VhostUserDevice::on(const SetDeviceStateFd& told) {
  if (auto rest = check_rings_rest(); !rest) return forward(rest);
  state_.reset();
  state_saved_ = told.start.direction == kStateSave;
  if (state_saved_) return hand_out_state(life_->save_state());
  auto begun = StateReader::begin();
  if (!begun) return forward(begun);
  state_.emplace(std::move(begun->reader));
  return std::move(begun->theirs);
}

Result<std::uint64_t> VhostUserDevice::on(const CheckDeviceState& /*asked*/) {
  if (auto rest = check_rings_rest(); !rest) return forward(rest);
  if (std::exchange(state_saved_, false)) return std::uint64_t{0};
  if (!state_) return fail("no state was asked for, or sent");
  state_->read();
  const StateReader sent = *std::exchange(state_, std::nullopt);
  const auto state = sent.all();
  if (!state) return forward(state);
  if (auto loaded = life_->load_state(*state); !loaded) return forward(loaded);
  return std::uint64_t{0};
}

// ---- configuration ----

Result<VhostUserDevice::Bytes> VhostUserDevice::on(const GetConfig& asked) {
  const ConfigHead head{.offset = asked.offset, .size = asked.size, .flags = 0};
  Bytes bytes(sizeof head + asked.size);
  std::memcpy(bytes.data(), &head, sizeof head);
  life_->read_config(asked.offset, std::span(bytes).subspan(sizeof head));
  return bytes;
}

Status VhostUserDevice::on(const SetConfig& told) {
  if (std::uint64_t{told.offset} + told.data.size() > life_->traits().config_bytes) {
    return fail(fmt::format("{} bytes at {} of a configuration that has {}", told.data.size(),
                            told.offset, life_->traits().config_bytes));
  }
  life_->write_config(told.offset, told.data);
  return {};
}

Status VhostUserDevice::on(SetBackendReqFd& told) {
  requests_.emplace(std::move(told.socket), kRequestPatience);
  // What was to be told before was told to nobody.
  for (const PeerRing& ring : rings_) {
    if (ring.call.in_band && ring.served) ring.call.event->signal();
  }
  return {};
}

void VhostUserDevice::tell(std::uint32_t request, std::span<const std::byte> payload) {
  if (!requests_) return;
  if (auto sent = requests_->send(Request{request}, 0, payload); !sent) {
    log_.warn("{}: the front end takes no more messages of ours: {}", id(), sent.error().message);
    requests_.reset();
  }
}

// ---- what the device does by itself ----

void VhostUserDevice::needs_reset() noexcept {
  needs_reset_.store(true, std::memory_order_relaxed);
  ring_broke_.store(true, std::memory_order_relaxed);
  news_.signal();
}

void VhostUserDevice::config_changed() noexcept {
  config_changed_.store(true, std::memory_order_relaxed);
  news_.signal();
}

void VhostUserDevice::look_at_news() {
  (void)news_.consume();
  if (config_changed_.exchange(false) && agreed(kProtocolConfig)) tell(kBackendConfigChange, {});
  if (!ring_broke_.exchange(false)) return;
  log_.warn("{}: a ring cannot be served any more before it is set up anew", id());
  for (unsigned i = 0; i < ring_count(); ++i) tell_ring_error(i);
}

void VhostUserDevice::reset_device() {
  life_->reset();
  state_.reset();
  state_saved_ = false;
  if (life_->traits().keeps_state) (void)life_->load_state({});
}

void VhostUserDevice::disconnected() {
  stop_rings();
  reset_device();
  for (unsigned i = 0; i < ring_count(); ++i) {
    if (rings_[i].call.event) point_call(i, {});
    rings_[i] = PeerRing();
  }
  inflight_.reset();
  written_.reset();
  written_changed_.reset();
  memory_.clear();
  requests_.reset();
  features_ = 0;
  features_told_ = false;
  protocol_ = 0;
  status_ = 0;
  needs_reset_.store(false, std::memory_order_relaxed);
  ring_broke_.store(false, std::memory_order_relaxed);
  config_changed_.store(false, std::memory_order_relaxed);
  (void)news_.consume();
  (void)memory_lost_.consume();
}

}  // namespace bellhop
