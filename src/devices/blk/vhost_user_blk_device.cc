#include "devices/blk/vhost_user_blk_device.h"

#include <algorithm>
#include <cstddef>

#include "devices/blk/blk_request.h"
#include "virtio/abi/blk.h"
#include "virtio/abi/ring.h"
#include "virtio/device/config_space.h"

namespace bellhop {

using namespace virtio;

namespace {

/// What every back end has that has a configuration at all: front ends ask for as much.
constexpr std::uint32_t kServedConfigBytes = offsetof(BlkConfig, max_secure_erase_sectors);
static_assert(kServedConfigBytes == 60);

constexpr std::uint64_t kServedFeatures =
    feature_mask(kBlkFeatureSizeMax) | feature_mask(kBlkFeatureSegMax) |
    feature_mask(kBlkFeatureGeometry) | feature_mask(kBlkFeatureReadOnly) |
    feature_mask(kBlkFeatureBlkSize) | feature_mask(kBlkFeatureFlush) |
    feature_mask(kBlkFeatureTopology) | feature_mask(kBlkFeatureConfigWce) |
    feature_mask(kBlkFeatureDiscard) | feature_mask(kBlkFeatureWriteZeroes) |
    feature_mask(kBlkFeatureLifetime);

}  // namespace

Result<std::unique_ptr<VhostUserBlkDevice>> VhostUserBlkDevice::create(
    const Options& options, VhostUserFront::Connect connect, Patience patience) {
  // A driver looks for a second queue only where there is the feature.
  const std::uint64_t several = options.queues > 1 ? feature_mask(kBlkFeatureMultiqueue) : 0;
  auto front = VhostUserFront::create(
      {.name = options.id,
       .queues = options.queues,
       .features = feature_mask(kFeatureVersion1) | several,
       .wanted = kRingFeatures | kServedFeatures | (options.more_ring_features & kMoreRingFeatures),
       .config_bytes = kServedConfigBytes,
       .patience = patience},
      std::move(connect));
  if (!front) return forward(front);
  return std::unique_ptr<VhostUserBlkDevice>(new VhostUserBlkDevice(options, std::move(*front)));
}

VhostUserBlkDevice::VhostUserBlkDevice(const Options& options,
                                       std::unique_ptr<VhostUserFront> front)
    : ProcessServedDevice(std::move(front), {.type = DeviceType::kBlock,
                                             .id = options.id,
                                             .queue_count = options.queues,
                                             .queue_max_size = options.queue_size,
                                             .config_bytes = kServedConfigBytes}) {}

void VhostUserBlkDevice::read_config(std::uint32_t offset, std::span<std::byte> data) noexcept {
  BlkConfig config{};
  front().read_config(0, std::as_writable_bytes(std::span(&config, 1)).first(kServedConfigBytes));
  // 5.2.4: as many as the driver is shown, whatever the back end has.
  config.num_queues = traits().queue_count;
  // No more than fits into our rings, which may be smaller than those it had in mind.
  config.seg_max = std::min<std::uint32_t>(config.seg_max, blk_seg_max(traits().queue_max_size));
  read_config_space(config, offset, data);
}

void VhostUserBlkDevice::write_config(std::uint32_t offset,
                                      std::span<const std::byte> data) noexcept {
  // 5.2.4: writeback is the only field that a driver may write.
  constexpr std::uint32_t kAt = offsetof(BlkConfig, writeback);
  const auto written = write_config_field<std::uint8_t>(kAt, 0, offset, data);
  if (!written || (traits().features & feature_mask(kBlkFeatureConfigWce)) == 0) {
    guest_faults_.add();
    return;
  }
  std::byte before{};
  front().read_config(kAt, {&before, 1});
  if (!set_writeback(*written)) return;
  int none = kNotWritten;
  writeback_before_.compare_exchange_strong(none, std::to_integer<int>(before));
}

/// False: the back end does not take it. If that is because it has gone, this is told elsewhere.
bool VhostUserBlkDevice::set_writeback(std::uint8_t value) noexcept {
  const auto byte = std::byte{value};
  return front().write_config(offsetof(BlkConfig, writeback), {&byte, 1}).has_value();
}

void VhostUserBlkDevice::reset() noexcept {
  ProcessServedDevice::reset();
  const int before = writeback_before_.exchange(kNotWritten);
  if (before != kNotWritten) (void)set_writeback(static_cast<std::uint8_t>(before));
}

std::vector<DeviceStat> VhostUserBlkDevice::stats() const {
  auto all = ProcessServedDevice::stats();
  all.push_back({"guest_faults", guest_faults_.get()});
  return all;
}

}  // namespace bellhop
