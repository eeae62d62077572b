#include "guest/cpu.h"
#include "guest/interrupts.h"
#include "guest/memory.h"
#include "guest/transport.h"
#include "virtio/abi/config.h"
#include "virtio/abi/mmio.h"

namespace bellhop::guest {

using namespace bellhop::virtio;

bool MmioTransport::open(std::uint64_t address, std::uint32_t gsi, std::uint16_t device_type) {
  if (!map_device(address, kMmioWindowBytes)) return false;
  base_ = address;
  gsi_ = gsi;
  return mmio_read32(base_ + kMmioMagicValue) == kMmioMagic &&
         mmio_read32(base_ + kMmioVersionOffset) == kMmioVersion &&
         mmio_read32(base_ + kMmioDeviceId) == device_type;
}

Transport::FeatureWindow MmioTransport::device_feature_window() const {
  return {base_ + kMmioDeviceFeaturesSel, base_ + kMmioDeviceFeatures};
}
Transport::FeatureWindow MmioTransport::driver_feature_window() const {
  return {base_ + kMmioDriverFeaturesSel, base_ + kMmioDriverFeatures};
}

std::uint8_t MmioTransport::status() {
  return static_cast<std::uint8_t>(mmio_read32(base_ + kMmioStatus));
}
void MmioTransport::set_status(std::uint8_t status) { mmio_write32(base_ + kMmioStatus, status); }

std::uint8_t MmioTransport::config_read8(std::uint32_t offset) {
  return mmio_read8(base_ + kMmioConfig + offset);
}
std::uint32_t MmioTransport::config_read32(std::uint32_t offset) {
  return mmio_read32(base_ + kMmioConfig + offset);
}
std::uint32_t MmioTransport::config_generation() {
  return mmio_read32(base_ + kMmioConfigGeneration);
}

std::uint32_t MmioTransport::queue_max_size(std::uint16_t queue) {
  mmio_write32(base_ + kMmioQueueSel, queue);
  return mmio_read32(base_ + kMmioQueueSizeMax);
}

bool MmioTransport::enable_queue(std::uint16_t queue, std::uint32_t size, QueueAddresses addresses,
                                 unsigned counter, std::uint32_t cpu, Notifier* notifier) {
  if (cpu != 0 || !ioapic_route(gsi_, static_cast<std::uint8_t>(kFirstVector + counter))) {
    return false;
  }
  mmio_write32(base_ + kMmioQueueSel, queue);
  mmio_write32(base_ + kMmioQueueSize, size);
  write_queue_addresses(
      {base_ + kMmioQueueDescLow, base_ + kMmioQueueDriverLow, base_ + kMmioQueueDeviceLow},
      addresses);
  *notifier = Notifier{base_ + kMmioQueueNotify, queue, Notifier::Way::kStore32};
  mmio_write32(base_ + kMmioQueueReady, 1);
  return true;
}

bool MmioTransport::reset_queue(std::uint16_t queue) {
  mmio_write32(base_ + kMmioQueueSel, queue);
  mmio_write32(base_ + kMmioQueueReset, 1);
  return wait_until([this] {
    return mmio_read32(base_ + kMmioQueueReset) == 0 && mmio_read32(base_ + kMmioQueueReady) == 0;
  });
}

void MmioTransport::acknowledge() {
  // Both causes at once: the ring is looked at in any case, which saves reading the register.
  mmio_write32(base_ + kMmioInterruptAck, kInterruptUsedBuffer | kInterruptConfig);
}

}  // namespace bellhop::guest
