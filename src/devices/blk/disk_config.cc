#include "devices/blk/disk_config.h"

#include <fmt/format.h>

#include <utility>

#include "base/option_variant.h"
#include "devices/blk/blk_device.h"

namespace bellhop {

namespace {

constexpr unsigned kMaxQueues = 64;

using Source = OptionVariant<BlockSource>;

void read_rates(PropertyReader& reader, BlkRates& rates) {
  constexpr unsigned kMostRequests = 100'000'000;
  constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 40;
  constexpr std::chrono::seconds kLongestBurst{3600};
  unsigned requests = 0;
  reader.number("iops", requests, 1, kMostRequests);
  rates.requests = requests;
  reader.size("bps", rates.bytes, 1, kMostBytes);
  reader.duration("burst", rates.burst, kLongestBurst);
  if (reader.has("burst") && !rates.limited()) {
    reader.refuse("burst", "burst= goes with iops= or bps=");
  }
}

}  // namespace

const DeviceOption DiskConfig::kOption = {
    .name = "disk",
    .summary = "A virtio-blk disk; may be given again",
    .value = "FILE[,KEY=VALUE,...]",
    .keys = Source::help(R"(
  id=NAME                  disk0, disk1, ... by default; what the guest gets as its id
  queues=N  queue-size=N   1 and 256 by default
  iops=N  bps=SIZE         at most so many requests and bytes in a second (as many as it can)
  burst=TIME               how far it may be ahead of them after a rest (10ms)
  notify=WAY               ioeventfd (default), sync: the vCPU waits while its kick is served,
                           poll: the I/O thread does not sleep, or adaptive: what measures best
  optimize=throughput|efficiency   what adaptive looks at: requests a second, or a CPU second
  packed=on|off            offer packed rings (VIRTIO_F_RING_PACKED) beside split ones (off)
  iothread=NAME|auto       auto: disks are spread over all I/O threads)"),
    .bare_key = "path",
    .served_as = "blk",
};

Result<DiskConfig> DiskConfig::parse(const PropertyList& properties) {
  DiskConfig disk;
  PropertyReader reader("--disk", properties);
  disk.source = Source::parse(reader);
  reader.number("queues", disk.queues, 1, kMaxQueues);
  read_queue_size(reader, disk.queue_size);
  read_rates(reader, disk.rates);
  read_common_keys(reader, properties, disk);
  if (auto status = reader.finish(); !status) return forward(status);
  return disk;
}

Status DiskConfig::check_files(FileRoles& roles) const {
  const std::string option = fmt::format("--disk {}", id);
  return std::visit([&](const auto& one) { return one.check(option, roles); }, source);
}

Result<std::unique_ptr<VirtioDevice>> make_device(const DiskConfig& config,
                                                  const DeviceHost& host) {
  auto backend = std::visit([](const auto& source) { return source.open(); }, config.source);
  Status ready;
  if (backend) {
    ready = (*backend)->reserve(
        config.queues, config.queue_size,
        config.notify == NotifyMode::kSync || config.notify == NotifyMode::kAdaptive
            ? QueueSharing::kSharedWithVcpu
            : QueueSharing::kLoopOnly,
        host.on_io_uring ? LoopKind::kIoUring : LoopKind::kEpoll);
  } else {
    ready = forward(backend);
  }
  if (!ready) return fail(fmt::format("--disk: {}", ready.error().message), ready.error().code);
  const BlkOptions options{.id = config.id,
                           .queues = static_cast<std::uint16_t>(config.queues),
                           .queue_size = static_cast<std::uint16_t>(config.queue_size),
                           .writeback = true,
                           .rates = config.rates};
  return std::make_unique<BlkDevice>(std::move(*backend), options);
}

}  // namespace bellhop
