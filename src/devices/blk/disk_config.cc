#include "devices/blk/disk_config.h"

#include <fmt/format.h>

#include <utility>

#include "base/option_variant.h"
#include "devices/blk/blk_device.h"
#include "devices/blk/vhost_user_blk_device.h"

namespace bellhop {

namespace {

constexpr unsigned kMaxQueues = 64;

using Source = OptionVariant<DiskSource>;

Result<std::unique_ptr<VirtioDevice>> make_served(const DiskConfig& config,
                                                  const VhostUserDisk& back_end,
                                                  const DeviceHost& host) {
  if (auto shared = check_shared(*host.memory, "--disk"); !shared) return forward(shared);
  auto device =
      VhostUserBlkDevice::create({.id = config.id,
                                  .queues = static_cast<std::uint16_t>(config.queues),
                                  .queue_size = static_cast<std::uint16_t>(config.queue_size),
                                  .more_ring_features = ring_features(config)},
                                 connector_to("--disk", back_end.socket));
  const auto ready = device ? check_rings(**device, ring_features(config)) : forward(device);
  if (ready) return std::move(*device);
  return fail(fmt::format("--disk: vhost-user={}: {}", back_end.socket, ready.error().message),
              ready.error().code);
}

}  // namespace

const DeviceOption DiskConfig::kOption = {
    .name = "disk",
    .summary = "A virtio-blk disk; may be given again",
    .value = "FILE[,KEY=VALUE,...]",
    .keys = Source::help(R"(
  id=NAME                  disk0, disk1, ... by default; what the guest gets as its id
  queues=N  queue-size=N   1 and 256 by default
  config-wce=on|off        let the guest switch the disk's write cache (VIRTIO_BLK_F_CONFIG_WCE; on,
                           but off with `bellhop serve`)
  iops=N  bps=SIZE         at most so many requests and bytes in a second (as many as it can)
  burst=TIME               how far it may be ahead of them after a rest (10ms)
  rate-limit-group=NAME    in their place: what the devices of that group may do together
  notify=WAY               ioeventfd (default), sync: the vCPU waits while its kick is served,
                           poll: the I/O thread does not sleep, or adaptive: what measures best
  optimize=throughput|efficiency|latency   what adaptive looks at: requests a second, or a CPU
                           second, or the time that a request takes
  coalesce=off|TIME        put interrupts off, up to so long after a completion (off)
  packed=on|off            offer packed rings (VIRTIO_F_RING_PACKED) beside split ones (off)
  queue-reset=on|off       offer the reset of single queues (VIRTIO_F_RING_RESET) (off)
  notification-data=on|off  let the driver's notifications say how far it has come
                           (VIRTIO_F_NOTIFICATION_DATA) (off)
  in-order=on|off          offer to use buffers in the order in which they were made available
                           (VIRTIO_F_IN_ORDER) (off)
  iothread=NAME|auto       auto: disks are spread over all I/O threads
                           iothread=A:B spreads the queues of one disk over both)"),
    .bare_key = "path",
    .served_as = "blk",
};

VhostUserDisk VhostUserDisk::parse(PropertyReader& reader) {
  VhostUserDisk disk;
  read_back_end(reader, "vhost-user", disk.socket);
  return disk;
}

Status VhostUserDisk::check_together(std::string_view option, const VhostUserDisk& other) const {
  return check_own_back_ends(option, *this, other);
}

Result<DiskConfig> DiskConfig::parse(const PropertyList& properties) {
  DiskConfig disk;
  PropertyReader reader("--disk", properties);
  disk.source = Source::parse(reader);
  reader.number("queues", disk.queues, 1, kMaxQueues);
  read_queue_size(reader, disk.queue_size);
  if (reader.has("config-wce")) reader.flag("config-wce", disk.config_wce.emplace());
  read_rates(reader, "iops", disk.rates);
  read_rate_group(reader, disk.rates, disk.rate_group);
  read_common_keys(reader, properties, disk);
  if (disk.back_end() != nullptr) {
    leave_queues_to_back_end(reader, disk);
    refuse_rates(reader, "iops", disk.rates, disk.rate_group, "the back end (vhost-user)");
    if (disk.config_wce) reader.refuse("config-wce", "config-wce is the back end's (vhost-user)");
  }
  if (auto status = reader.finish(); !status) return forward(status);
  return disk;
}

Status DiskConfig::check_files(FileRoles& roles) const {
  const std::string option = fmt::format("--disk {}", id);
  return std::visit([&](const auto& one) { return one.check(option, roles); }, source);
}

void DiskConfig::add_needs(HostNeeds& needs) const {
  std::visit([&](const auto& one) { one.add_needs(needs); }, source);
}

Status DiskConfig::check_together(std::span<const DiskConfig> others) const {
  for (const DiskConfig& other : others) {
    auto checked = Source::check_together("--disk", source, other.source);
    if (!checked) return checked;
  }
  return {};
}

Result<std::unique_ptr<VirtioDevice>> make_device(const DiskConfig& config,
                                                  const DeviceHost& host) {
  if (const auto* back_end = config.back_end()) return make_served(config, *back_end, host);
  Result<std::unique_ptr<BlockBackend>> backend = fail("it has no medium");
  std::visit(
      [&](const auto& source) {
        if constexpr (requires { source.open(); }) backend = source.open();
      },
      config.source);
  Status ready;
  if (backend) {
    const bool by_vcpu = config.notify == NotifyMode::kSync ||
                         (config.notify == NotifyMode::kAdaptive && host.has_vcpus);
    ready = (*backend)->reserve(config.queues, config.queue_size,
                                by_vcpu ? QueueSharing::kSharedWithVcpu : QueueSharing::kLoopOnly,
                                host.on_io_uring ? LoopKind::kIoUring : LoopKind::kEpoll);
  } else {
    ready = forward(backend);
  }
  if (!ready) return fail(fmt::format("--disk: {}", ready.error().message), ready.error().code);
  const BlkOptions options{.id = config.id,
                           .queues = static_cast<std::uint16_t>(config.queues),
                           .queue_size = static_cast<std::uint16_t>(config.queue_size),
                           .writeback = true,
                           .config_wce = config.config_wce,
                           .rates = config.rates,
                           .group = find_throttle(host.rate_groups, config.rate_group)};
  return std::make_unique<BlkDevice>(std::move(*backend), options);
}

}  // namespace bellhop
