#include "devices/rng/rng_device.h"

#include "devices/rng/rng_queue.h"

namespace bellhop {

RngDevice::RngDevice(UniqueFd source, RngOptions options)
    : source_(std::move(source)), options_(std::move(options)) {
  traits_ = {.type = virtio::DeviceType::kRng,
             .id = options_.id,
             .features = 0,
             .queue_count = 1,
             .queue_max_size = options_.queue_size,
             .config_bytes = 0};
}

RngDevice::~RngDevice() = default;

void RngDevice::read_config(std::uint32_t /*offset*/, std::span<std::byte> /*data*/) noexcept {}

void RngDevice::write_config(std::uint32_t /*offset*/, std::span<const std::byte>) noexcept {
  counters_.guest_faults.add();  // 5.4.4: there is nothing
}

Status RngDevice::activate(std::uint64_t /*features*/, std::span<QueueRunner* const> queues) {
  if (queues[0] == nullptr) return {};
  queue_ = std::make_unique<RngQueue>(*this, *queues[0]);
  queues[0]->set_handler(queue_.get());
  return {};
}

void RngDevice::reset() noexcept { queue_.reset(); }

std::vector<DeviceStat> RngDevice::stats() const {
  return {{"requests", counters_.requests.get()},
          {"bytes", counters_.bytes.get()},
          {"limited", counters_.limited.get()},
          {"source_empty", counters_.source_empty.get()},
          {"source_errors", counters_.source_errors.get()},
          {"guest_faults", counters_.guest_faults.get()}};
}

}  // namespace bellhop
