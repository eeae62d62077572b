#include "devices/net/vhost_user_net_device.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "base/thread.h"
#include "devices/net/net_offloads.h"
#include "devices/net/pair_control.h"
#include "virtio/abi/ring.h"
#include "virtio/device/config_space.h"

namespace bellhop {

using namespace virtio;

namespace {

constexpr std::uint64_t kSeveral = feature_mask(kNetFeatureMq);

}  // namespace

bool PairControl::execute(const BufferRun& request, std::size_t bytes) noexcept {
  struct {
    NetControlHeader header;
    std::uint16_t pairs;
  } command{};
  static_assert(sizeof command == 4);
  if (bytes != sizeof command) return false;
  request.copy_out(0, std::as_writable_bytes(std::span(&command, 1)));
  return command.header.command_class == kNetControlMq &&
         command.header.command == kNetControlMqPairsSet && device_.use_pairs(command.pairs);
}

Result<std::unique_ptr<VhostUserNetDevice>> VhostUserNetDevice::create(
    const Options& options, VhostUserFront::Connect connect, Patience patience) {
  const std::uint64_t frames = feature_mask(kNetFeatureMrgRxbuf) | host_features(Offloads::all()) |
                               guest_features(Offloads::all());
  const bool several = options.pairs > 1;
  // The starter's threads are allowed less than a loop needs.
  if (several && is_confined()) {
    return fail(
        "several pairs of queues need a thread that can be had at the machine's start alone",
        ENOTSUP);
  }
  auto front = VhostUserFront::create({.name = options.id,
                                       .queues = 2U * options.pairs,
                                       .least_queue_num = options.pairs,
                                       .features = feature_mask(kFeatureVersion1),
                                       .wanted = kRingFeatures | frames | (several ? kSeveral : 0) |
                                                 (options.more_ring_features & kMoreRingFeatures),
                                       .mtu = options.mtu,
                                       .patience = patience},
                                      std::move(connect));
  if (!front) return forward(front);
  if (several && ((*front)->features() & kSeveral) == 0) {
    return fail("the back end does not offer several pairs of queues (VIRTIO_NET_F_MQ)", ENOTSUP);
  }
  std::unique_ptr<VhostUserNetDevice> device(new VhostUserNetDevice(options, std::move(*front)));
  if (several) {
    // Beside those of the machine, which wait for nobody.
    auto thread = IoThread::start(
        {.name = options.id + "-ctl", .cpus = {}, .poll_max = std::chrono::nanoseconds(0)});
    if (!thread) return forward(thread);
    device->control_thread_ = std::move(*thread);
  }
  return device;
}

VhostUserNetDevice::VhostUserNetDevice(const Options& options,
                                       std::unique_ptr<VhostUserFront> front)
    : ProcessServedDevice(
          std::move(front),
          {.type = DeviceType::kNet,
           .id = options.id,
           .features = feature_mask(kNetFeatureMac) | feature_mask(kNetFeatureStatus) |
                       (options.mtu != 0 ? feature_mask(kNetFeatureMtu) : 0) |
                       (options.pairs > 1 ? feature_mask(kNetFeatureCtrlVq) : 0),
           .queue_count = static_cast<std::uint16_t>(2 * options.pairs + (options.pairs > 1)),
           .queue_max_size = options.queue_size,
           .config_bytes = sizeof(NetConfig)}),
      mac_(options.mac),
      mtu_(options.mtu),
      pairs_(options.pairs) {}

VhostUserNetDevice::~VhostUserNetDevice() = default;

/// 5.1.2: the control queue comes after all pairs of a driver that uses several, else after one.
unsigned VhostUserNetDevice::control_index(std::uint64_t features) const noexcept {
  return (features & kSeveral) != 0 ? 2U * pairs_ : 2U;
}

IoThread* VhostUserNetDevice::own_thread(unsigned queue) noexcept {
  return queue == 2U * pairs_ ? control_thread_.get() : nullptr;
}

ServerChoice VhostUserNetDevice::server(unsigned queue, std::uint64_t features) const noexcept {
  if (queue >= control_index(features)) return {};
  return ProcessServedDevice::server(queue, features);
}

Status VhostUserNetDevice::offload(std::uint64_t features,
                                   std::span<OffloadedQueue* const> queues) {
  // 5.1.6.5.5: the first pair alone, until the driver says otherwise.
  if (auto one = front().use_rings(2); !one) return one;
  return ProcessServedDevice::offload(features, queues);
}

Status VhostUserNetDevice::activate(std::uint64_t features, std::span<QueueRunner* const> queues) {
  several_ = (features & kSeveral) != 0;
  const unsigned control = control_index(features);
  for (unsigned i = control; i < queues.size(); ++i) {
    if (queues[i] == nullptr) continue;
    if (i == control && (features & feature_mask(kNetFeatureCtrlVq)) != 0) {
      control_ = std::make_unique<PairControl>(*this, *queues[i], control_counters_);
      queues[i]->set_handler(control_.get());
    } else {
      unused_.push_back(std::make_unique<UnusedQueue>(*queues[i]));
      queues[i]->set_handler(unused_.back().get());
    }
  }
  return {};
}

void VhostUserNetDevice::reset() noexcept {
  ProcessServedDevice::reset();
  control_.reset();
  unused_.clear();
  several_ = false;
}

bool VhostUserNetDevice::use_pairs(unsigned count) noexcept {
  if (!several_ || count == 0 || count > pairs_) return false;
  return front().use_rings(2 * count).has_value();
}

void VhostUserNetDevice::read_config(std::uint32_t offset, std::span<std::byte> data) noexcept {
  NetConfig config{};
  std::byte mac[kNetMacBytes];
  store_mac(mac_, mac);
  std::memcpy(config.mac, mac, sizeof mac);
  config.status = front().connected() ? kNetStatusLinkUp : std::uint16_t{0};
  config.max_virtqueue_pairs = pairs_;
  config.mtu = mtu_;
  read_config_space(config, offset, data);
}

void VhostUserNetDevice::write_config(std::uint32_t /*offset*/,
                                      std::span<const std::byte>) noexcept {
  // 5.1.4.2: all of it is read-only for a driver of this century.
}

std::vector<DeviceStat> VhostUserNetDevice::stats() const {
  auto all = ProcessServedDevice::stats();
  all.push_back({"control_commands", control_counters_.commands.get()});
  all.push_back({"guest_faults", control_counters_.refused.get()});
  return all;
}

}  // namespace bellhop
