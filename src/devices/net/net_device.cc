#include "devices/net/net_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "devices/net/net_control.h"
#include "devices/net/net_offloads.h"
#include "devices/net/net_rx.h"
#include "devices/net/net_tx.h"
#include "virtio/abi/ring.h"
#include "virtio/device/config_space.h"

namespace bellhop {

using namespace virtio;

/// Hears of what becomes of the host's end of the wire.
class LinkWatch final : public ReadyHandler {
 public:
  LinkWatch(NetDevice& device, IoThread& thread) noexcept : device_(device), thread_(thread) {}
  ~LinkWatch() {
    thread_.run_sync([this] { watch_.reset(); });
  }
  LinkWatch(const LinkWatch&) = delete;
  LinkWatch& operator=(const LinkWatch&) = delete;

  Status start() {
    Status started;
    thread_.run_sync([&] {
      auto watch =
          thread_.loop().watch_fd(device_.backend_->link_fd(), Readiness::kReadable, *this);
      if (!watch) {
        started = forward(watch);
        return;
      }
      watch_ = std::move(*watch);
      on_ready();
    });
    return started;
  }

 private:
  void on_ready() noexcept override {
    if (device_.look_at_link(thread_)) watch_->arm();
  }

  NetDevice& device_;
  IoThread& thread_;
  std::unique_ptr<FdWatch> watch_;
};

namespace {

/// What is offered because there is a control queue, but for several pairs: they need a front end's
/// word, too, and are ours to serve.
constexpr std::uint64_t kControlFeatures =
    feature_mask(kNetFeatureCtrlVq) | feature_mask(kNetFeatureCtrlRx) |
    feature_mask(kNetFeatureCtrlRxExtra) | feature_mask(kNetFeatureCtrlVlan) |
    feature_mask(kNetFeatureCtrlMacAddr) | feature_mask(kNetFeatureGuestAnnounce) |
    feature_mask(kNetFeatureCtrlGuestOffloads);

/// 5.1.2: the control queue comes after all pairs of a driver that uses several, else after one.
unsigned pairs_of(std::uint64_t features, const NetLimits& limits) noexcept {
  return (features & feature_mask(kNetFeatureMq)) != 0 ? limits.pairs : 1;
}

}  // namespace

NetDevice::NetDevice(std::shared_ptr<NetBackend> backend, NetOptions options,
                     std::unique_ptr<VhostNet> kernel)
    : backend_(std::move(backend)),
      kernel_(std::move(kernel)),
      options_(std::move(options)),
      rx_counters_(backend_->limits().pairs),
      tx_counters_(backend_->limits().pairs),
      rx_throttle_(options_.rates),
      tx_throttle_(options_.rates) {
  const NetLimits& limits = backend_->limits();
  std::uint64_t features = host_features(limits.to_host) | guest_features(limits.to_guest);
  for (const unsigned bit :
       {kNetFeatureMac, kNetFeatureStatus, kNetFeatureMrgRxbuf, kNetFeatureCtrlVq,
        kNetFeatureCtrlRx, kNetFeatureCtrlRxExtra, kNetFeatureCtrlVlan, kNetFeatureCtrlMacAddr,
        kNetFeatureGuestAnnounce, kNetFeatureCtrlGuestOffloads}) {
    features |= feature_mask(bit);
  }
  if (options_.mtu != 0) features |= feature_mask(kNetFeatureMtu);
  if (limits.pairs > 1) features |= feature_mask(kNetFeatureMq);
  traits_ = {.type = DeviceType::kNet,
             .id = options_.id,
             .features = features,
             .queue_count = static_cast<std::uint16_t>(2 * limits.pairs + 1),
             .queue_max_size = options_.queue_size,
             .config_bytes = sizeof(NetConfig),
             // A vhost-user front end answers commands itself. How many pairs are in use is one of
             // them; it says so by the queues that it enables.
             .front_end_queues = 1,
             .front_end_features = kControlFeatures};
  filter_.reset(options_.mac, RxFilter::Vlans::kAll);
}

NetDevice::~NetDevice() = default;

void NetDevice::read_config(std::uint32_t offset, std::span<std::byte> data) noexcept {
  NetConfig config{};
  std::byte mac[kNetMacBytes];
  store_mac(filter_.own(), mac);
  std::memcpy(config.mac, mac, sizeof mac);
  config.status = status_.load(std::memory_order_acquire);
  config.max_virtqueue_pairs = static_cast<std::uint16_t>(backend_->limits().pairs);
  config.mtu = options_.mtu;
  read_config_space(config, offset, data);
}

void NetDevice::write_config(std::uint32_t /*offset*/, std::span<const std::byte>) noexcept {
  // 5.1.4.2: all of it is read-only for a driver of this century.
  control_counters_.refused.add();
}

ServerChoice NetDevice::server(unsigned queue, std::uint64_t features) const noexcept {
  if (!kernel_ || queue >= 2 * pairs_of(features, backend_->limits())) return {};
  return {.server = Server::kKernel, .required = options_.kernel_required};
}

Status NetDevice::offload(std::uint64_t features, std::span<OffloadedQueue* const> queues) {
  if (auto begun = kernel_->begin(features); !begun) return begun;
  for (unsigned i = 0; i < queues.size(); ++i) {
    if (queues[i] == nullptr) continue;
    queues[i]->set_back_end(kernel_->ring(i));
    link_thread_ = &queues[i]->thread();
  }
  return {};
}

Status NetDevice::activate(std::uint64_t features, std::span<QueueRunner* const> queues) {
  features_ = features;
  // 5.1.6.1: else the header has two bytes less than what the rings and the tap are made for here.
  if (!negotiated(kFeatureVersion1) && !negotiated(kNetFeatureMrgRxbuf)) {
    return fail(
        "a legacy driver that takes no mergeable buffers (VIRTIO_NET_F_MRG_RXBUF) cannot be "
        "served");
  }
  to_host_ = host_offloads(features);
  const Offloads to_guest = guest_offloads(features);
  // A NIC whose interface has gone still starts, without a link.
  if (auto set = backend_->set_guest_offloads(to_guest); !set && !gone_) return set;
  to_guest_ = to_guest.bits();
  filter_.reset(options_.mac, negotiated(kNetFeatureCtrlVq) && negotiated(kNetFeatureCtrlVlan)
                                  ? RxFilter::Vlans::kListed
                                  : RxFilter::Vlans::kAll);
  Status made = activate_queues(queues);
  if (made) made = watch_link(queues);
  if (!made) reset();
  return made;
}

Status NetDevice::watch_link(std::span<QueueRunner* const> queues) {
  const auto first =
      std::ranges::find_if(queues, [](const auto* queue) { return queue != nullptr; });
  IoThread* const thread = first != queues.end() ? &(*first)->thread() : link_thread_;
  if (backend_->link_fd() < 0 || thread == nullptr) return {};
  link_watch_ = std::make_unique<LinkWatch>(*this, *thread);
  return link_watch_->start();
}

bool NetDevice::look_at_link(IoThread& thread) noexcept {
  const LinkState state = backend_->link();
  if (state == LinkState::kGone) {
    backend_gone(thread, ENODEV);
    return false;
  }
  host_up_.store(state == LinkState::kUp, std::memory_order_relaxed);
  show_link();
  return true;
}

Status NetDevice::activate_queues(std::span<QueueRunner* const> queues) {
  const unsigned pairs = pairs_of(features_, backend_->limits());
  const unsigned control = 2 * pairs;
  rx_.resize(pairs);
  tx_.resize(pairs);
  for (unsigned i = 0; i < queues.size(); ++i) {
    QueueRunner* const runner = queues[i];
    if (runner == nullptr) continue;
    QueueHandler* handler = nullptr;
    if (i < control && i % 2 == 0) {
      auto rx = NetRx::create(*this, i / 2, *runner);
      if (!rx) return forward(rx);
      handler = (rx_[i / 2] = std::move(*rx)).get();
    } else if (i < control) {
      auto tx = NetTx::create(*this, i / 2, *runner);
      if (!tx) return forward(tx);
      handler = (tx_[i / 2] = std::move(*tx)).get();
    } else if (i == control && negotiated(kNetFeatureCtrlVq)) {
      control_ = std::make_unique<NetControl>(*this, *runner);
      handler = control_.get();
    } else {
      handler = unused_.emplace_back(std::make_unique<UnusedQueue>(*runner)).get();
    }
    runner->set_handler(handler);
  }
  return {};
}

void NetDevice::reset() noexcept {
  link_watch_.reset();
  link_thread_ = nullptr;
  rx_.clear();
  tx_.clear();
  control_.reset();
  unused_.clear();
  features_ = 0;
  pairs_in_use_ = 1;
  to_guest_ = 0;
  filter_.reset(options_.mac, RxFilter::Vlans::kAll);
  status_.fetch_and(static_cast<std::uint16_t>(~kNetStatusAnnounce));
  // If the interface has gone meanwhile there is nothing to be put right.
  (void)backend_->use_pairs(1);
  (void)backend_->set_guest_offloads({});
}

void NetDevice::set_status_bits(std::uint16_t set, std::uint16_t clear) noexcept {
  std::uint16_t before = status_.load(std::memory_order_relaxed);
  std::uint16_t after = 0;
  do {
    after = static_cast<std::uint16_t>((before | set) & ~clear);
  } while (!status_.compare_exchange_weak(before, after, std::memory_order_acq_rel));
  if (after != before) config_changed();
}

void NetDevice::set_link(bool up) noexcept {
  link_up_.store(up, std::memory_order_relaxed);
  if (kernel_) {
    if (auto set = kernel_->set_link(up); !set) {
      log_.error("{}: {}", options_.id, set.error().message);
    }
  }
  show_link();
}

void NetDevice::show_link() noexcept {
  const bool up = link_up() && host_up_.load(std::memory_order_relaxed);
  set_status_bits(up ? kNetStatusLinkUp : std::uint16_t{0},
                  up ? std::uint16_t{0} : kNetStatusLinkUp);
}

bool NetDevice::joins_frames() const noexcept {
  const Offloads taken = backend_->limits().to_host;
  return options_.join_frames && taken.has(Offload::kCsum) && taken.has(Offload::kUso4) &&
         taken.has(Offload::kUso6);
}

void NetDevice::announce() noexcept {
  if (!negotiated(kNetFeatureGuestAnnounce) || !negotiated(kNetFeatureCtrlVq)) return;
  set_status_bits(kNetStatusAnnounce, 0);
}

void NetDevice::backend_gone(IoThread& thread, int error) noexcept {
  if (gone_.exchange(true)) return;
  set_link(false);
  // Not a matter of the data path any more, but its thread shall not wait for a terminal.
  thread.loop().post([this, error] {
    log_.error("{}: {} cannot be used any more: {}; the link is down", options_.id,
               backend_->name(), std::generic_category().message(error));
  });
}

/// The kernel serves no queue that the tap has not got.
Status NetDevice::move_pairs(unsigned from, unsigned to) {
  if (kernel_ && to < from) {
    if (auto rested = kernel_->use_pairs(to); !rested) return rested;
  }
  Status used = backend_->use_pairs(to);
  if (used && kernel_) used = kernel_->use_pairs(to);
  if (!used && to > from) {
    // The host would spread frames over queues that nobody serves.
    if (kernel_) (void)kernel_->use_pairs(from);
    (void)backend_->use_pairs(from);
  }
  return used;
}

bool NetDevice::use_pairs(unsigned count) noexcept {
  if (!negotiated(kNetFeatureMq) || count == 0 || count > backend_->limits().pairs) return false;
  const unsigned before = pairs_in_use_.load(std::memory_order_relaxed);
  // A queue that the host is about to take out of use must know why it cannot be read any more.
  if (count < before) pairs_in_use_.store(count, std::memory_order_release);
  if (!move_pairs(before, count)) {
    pairs_in_use_.store(before, std::memory_order_release);
    return false;
  }
  pairs_in_use_.store(count, std::memory_order_release);
  for (unsigned i = before; i < count; ++i) {
    if (rx_[i]) rx_[i]->taken_into_use();
  }
  return true;
}

Status NetDevice::use_queues(unsigned count) {
  if (!negotiated(kNetFeatureMq) || count < 2) return {};
  if (use_pairs(std::min(count / 2, backend_->limits().pairs))) return {};
  return fail(fmt::format("{} does not take {} pairs of queues", backend_->name(), count / 2));
}

bool NetDevice::set_guest_offloads(std::uint64_t features) noexcept {
  // 5.1.6.5.6: a subset of what was negotiated.
  const std::uint64_t possible = features_ & guest_features(Offloads::all());
  if ((features & ~possible) != 0) return false;
  const Offloads offloads = guest_offloads(features);
  if (!backend_->set_guest_offloads(offloads)) return false;
  to_guest_.store(offloads.bits(), std::memory_order_release);
  return true;
}

NetTotals NetDevice::totals() const noexcept {
  NetTotals sum;
  for (const NetRxCounters& rx : rx_counters_) {
    sum.rx_frames += rx.frames.get();
    sum.rx_bytes += rx.bytes.get();
    sum.rx_starved += rx.starved.get();
    sum.rx_dropped_filter += rx.dropped_filter.get();
    sum.rx_dropped_link_down += rx.dropped_link_down.get();
    sum.rx_dropped_no_room += rx.dropped_no_room.get();
    sum.rx_dropped_error += rx.dropped_error.get();
    sum.guest_faults += rx.guest_faults.get();
  }
  for (const NetTxCounters& tx : tx_counters_) {
    sum.tx_frames += tx.frames.get();
    sum.tx_bytes += tx.bytes.get();
    sum.tx_joined += tx.joined.get();
    sum.tx_blocked += tx.blocked.get();
    sum.tx_dropped_link_down += tx.dropped_link_down.get();
    sum.tx_dropped_error += tx.dropped_error.get();
    sum.guest_faults += tx.guest_faults.get();
  }
  sum.control_commands = control_counters_.commands.get();
  sum.guest_faults += control_counters_.refused.get();
  return sum;
}

std::vector<DeviceStat> NetDevice::stats() const {
  const NetTotals sum = totals();
  return {{"rx_frames", sum.rx_frames},
          {"rx_bytes", sum.rx_bytes},
          {"rx_starved", sum.rx_starved},
          {"rx_dropped_filter", sum.rx_dropped_filter},
          {"rx_dropped_link_down", sum.rx_dropped_link_down},
          {"rx_dropped_no_room", sum.rx_dropped_no_room},
          {"rx_dropped_error", sum.rx_dropped_error},
          {"tx_frames", sum.tx_frames},
          {"tx_bytes", sum.tx_bytes},
          {"tx_joined", sum.tx_joined},
          {"tx_blocked", sum.tx_blocked},
          {"tx_dropped_link_down", sum.tx_dropped_link_down},
          {"tx_dropped_error", sum.tx_dropped_error},
          {"control_commands", sum.control_commands},
          {"vhost_queues", kernel_ ? kernel_->served() : 0U, true},
          {"vhost_starts", kernel_ ? kernel_->starts() : 0U},
          {"guest_faults", sum.guest_faults},
          {"rx_throttled", rx_throttle_.times.get()},
          {"rx_throttled_ns", rx_throttle_.nanoseconds.get()},
          {"tx_throttled", tx_throttle_.times.get()},
          {"tx_throttled_ns", tx_throttle_.nanoseconds.get()}};
}

}  // namespace bellhop
