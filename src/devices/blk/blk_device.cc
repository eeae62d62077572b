#include "devices/blk/blk_device.h"

#include <algorithm>
#include <bit>
#include <cerrno>

#include "devices/blk/blk_queue.h"
#include "devices/blk/blk_request.h"
#include "virtio/abi/ring.h"
#include "virtio/device/config_space.h"

namespace bellhop {

using namespace virtio;

BlkDevice::BlkDevice(std::shared_ptr<BlockBackend> backend, BlkOptions options)
    : backend_(std::move(backend)),
      options_(std::move(options)),
      capacity_(backend_->limits().capacity),
      writeback_(options_.writeback),
      throttle_(options_.rates),
      reserved_(options_.queues),
      traffic_(options_.queues) {
  const BlockLimits& limits = backend_->limits();
  std::uint64_t features = feature_mask(kBlkFeatureSegMax) | feature_mask(kBlkFeatureBlkSize) |
                           feature_mask(kBlkFeatureFlush) | feature_mask(kBlkFeatureTopology);
  if (options_.config_wce.value_or(true)) features |= feature_mask(kBlkFeatureConfigWce);
  if (limits.read_only) features |= feature_mask(kBlkFeatureReadOnly);
  if (options_.queues > 1) features |= feature_mask(kBlkFeatureMultiqueue);
  if (limits.can_discard && !limits.read_only) features |= feature_mask(kBlkFeatureDiscard);
  if (limits.can_write_zeroes && !limits.read_only) {
    features |= feature_mask(kBlkFeatureWriteZeroes);
  }
  traits_ = {.type = DeviceType::kBlock,
             .id = options_.id,
             .features = features,
             .queue_count = options_.queues,
             .queue_max_size = options_.queue_size,
             .config_bytes = sizeof(BlkConfig),
             .front_end_features = options_.config_wce ? 0 : feature_mask(kBlkFeatureConfigWce)};

  const std::uint32_t sectors_in_block = limits.logical_block / kBlkSectorBytes;
  config_.seg_max = blk_seg_max(options_.queue_size);
  config_.blk_size = limits.logical_block;
  config_.physical_block_exp = static_cast<std::uint8_t>(
      std::bit_width(std::max(limits.physical_block / limits.logical_block, 1U)) - 1);
  config_.min_io_size =
      static_cast<std::uint16_t>(std::max(limits.physical_block / limits.logical_block, 1U));
  config_.num_queues = options_.queues;
  config_.max_discard_sectors = kBlkMaxDiscardSectors;
  config_.max_discard_seg = kBlkMaxDiscardSegments;
  config_.discard_sector_alignment =
      std::max(limits.physical_block / kBlkSectorBytes, sectors_in_block);
  config_.max_write_zeroes_sectors = kBlkMaxWriteZeroesSectors;
  config_.max_write_zeroes_seg = kBlkMaxWriteZeroesSegments;
  config_.write_zeroes_may_unmap = 1;
}

BlkDevice::~BlkDevice() = default;

void BlkDevice::read_config(std::uint32_t offset, std::span<std::byte> data) noexcept {
  BlkConfig config = config_;
  config.capacity = capacity() / kBlkSectorBytes;
  config.writeback = writeback_.load(std::memory_order_relaxed) ? 1 : 0;
  read_config_space(config, offset, data);
}

void BlkDevice::write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept {
  // 5.2.4: writeback is the only field that a driver may write.
  const auto written =
      write_config_field<std::uint8_t>(offsetof(BlkConfig, writeback), 0, offset, data);
  if (!written || !options_.config_wce.value_or(true)) {
    counters_.guest_faults.add();
    return;
  }
  writeback_.store(*written != 0, std::memory_order_relaxed);
}

Status BlkDevice::resize(std::uint64_t bytes) {
  auto* const medium = dynamic_cast<Resizable*>(backend_.get());
  if (medium == nullptr) return fail("its medium keeps its size", ENOTSUP);
  if (auto done = medium->resize(bytes); !done) return done;
  return look_at_capacity();
}

Status BlkDevice::look_at_capacity() {
  const auto now = backend_->measure();
  if (!now) return forward(now);
  if (capacity_.exchange(*now, std::memory_order_relaxed) != *now) config_changed();
  return {};
}

Status BlkDevice::activate(std::uint64_t features, std::span<QueueRunner* const> queues) {
  for (std::size_t i = 0; i < queues.size(); ++i) {
    QueueRunner* const runner = queues[i];
    if (runner == nullptr) continue;
    auto queue = BlkQueue::create(*this, *runner, traffic_[i], features);
    if (!queue) {
      queues_.clear();
      return forward(queue);
    }
    runner->set_handler(queue->get());
    reserved_[i] = reserved_[i] || runner->shares_with_vcpu();
    queues_.push_back(std::move(*queue));
  }
  return {};
}

// On the thread of who asks for it, which may make an io_uring where an I/O thread may not (see
// sandbox/).
Status BlkDevice::sharing_changed(unsigned queue, QueueRunner& runner) {
  if (runner.shares_with_vcpu() && !reserved_[queue]) {
    auto ready = backend_->reserve(1, options_.queue_size, QueueSharing::kSharedWithVcpu,
                                   runner.thread().loop().kind());
    if (!ready) return ready;
    reserved_[queue] = true;
  }
  const auto found = std::ranges::find_if(
      queues_, [&runner](const auto& one) { return &one->runner() == &runner; });
  return found == queues_.end() ? Status() : (*found)->open_anew();
}

std::vector<DeviceStat> BlkDevice::stats() const {
  const auto sum = [this](RelaxedCounter BlkTraffic::*counter) {
    std::uint64_t all = 0;
    for (const BlkTraffic& queue : traffic_) all += (queue.*counter).get();
    return all;
  };
  return {{"read_ops", sum(&BlkTraffic::read_ops)},
          {"read_bytes", sum(&BlkTraffic::read_bytes)},
          {"write_ops", sum(&BlkTraffic::write_ops)},
          {"write_bytes", sum(&BlkTraffic::write_bytes)},
          {"flush_ops", sum(&BlkTraffic::flush_ops)},
          {"io_errors", counters_.io_errors.get()},
          {"guest_faults", counters_.guest_faults.get()},
          {"throttled", throttle_.times.get()},
          {"throttled_ns", throttle_.nanoseconds.get()}};
}

void BlkDevice::reset() noexcept {
  queues_.clear();
  writeback_.store(options_.writeback, std::memory_order_relaxed);
}

}  // namespace bellhop
