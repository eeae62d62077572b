#include "guest/cpu.h"
#include "guest/interrupts.h"
#include "guest/transport.h"
#include "virtio/abi/config.h"
#include "virtio/abi/pci.h"

namespace bellhop::guest {

using namespace bellhop::virtio;

bool PciTransport::open(PciFunction function, std::uint16_t device_type) {
  const std::uint16_t id = function.read16(kPciDeviceIdOffset);
  bool matches = id == kPciModernDeviceBase + device_type;
  if (id >= kPciTransitionalFirst && id <= kPciTransitionalLast) {
    matches = function.read16(kPciSubsystemIdOffset) == device_type;
  }
  if (!matches) return false;
  function_ = function;
  return locate();
}

bool PciTransport::locate() {
  common_ = notify_ = isr_ = device_config_ = 0;
  const std::uint16_t command = function_.read16(kPciCommandOffset);
  // BARs are sized and placed with decoding off.
  function_.write16(kPciCommandOffset, static_cast<std::uint16_t>(command & ~kPciCommandMemory));
  std::uint64_t bars[kPciBarCount] = {};
  for (unsigned i = 0; i < kPciBarCount; ++i) {
    const std::uint32_t low = function_.read32(kPciBar0Offset + 4 * i);
    bars[i] = function_.bar_address(i);
    if ((low & kPciBarIo) == 0 && (low & kPciBarTypeMask) == kPciBarType64) ++i;
  }
  for (std::uint8_t at = function_.find_capability(kPciCapIdVendor, 0); at != 0;
       at = function_.find_capability(kPciCapIdVendor, at)) {
    const std::uint8_t type = function_.read8(at + offsetof(PciCap, cfg_type));
    const std::uint8_t bar = function_.read8(at + offsetof(PciCap, bar));
    const std::uint32_t offset = function_.read32(at + offsetof(PciCap, offset));
    if (type == kPciCapPciCfg) window_capability_ = at;
    if (bar >= kPciBarCount || bars[bar] == 0) continue;
    const std::uint64_t address = bars[bar] + offset;
    // The first of each type is the one that the device prefers (4.1.4.1).
    if (type == kPciCapCommonCfg && common_ == 0) common_ = address;
    if (type == kPciCapIsrCfg && isr_ == 0) isr_ = address;
    if (type == kPciCapDeviceCfg && device_config_ == 0) device_config_ = address;
    if (type == kPciCapNotifyCfg && notify_ == 0) {
      notify_ = address;
      notify_bar_ = bar;
      notify_offset_ = offset;
      notify_length_ = function_.read32(at + offsetof(PciCap, length));
      notify_multiplier_ = function_.read32(at + offsetof(PciNotifyCap, notify_off_multiplier));
    }
  }
  msix_capability_ = function_.find_capability(kPciCapIdMsix, 0);
  if (common_ == 0 || notify_ == 0 || msix_capability_ == 0) return false;
  const std::uint16_t control = function_.read16(msix_capability_ + offsetof(MsixCap, control));
  vectors_ = (control & kMsixControlSizeMask) + 1U;
  const std::uint32_t table = function_.read32(msix_capability_ + offsetof(MsixCap, table));
  const std::uint32_t pending = function_.read32(msix_capability_ + offsetof(MsixCap, pba));
  msix_table_ = bars[table & kMsixBirMask] + (table & ~kMsixBirMask);
  msix_pending_ = bars[pending & kMsixBirMask] + (pending & ~kMsixBirMask);
  function_.write16(kPciCommandOffset,
                    static_cast<std::uint16_t>(command | kPciCommandMemory | kPciCommandBusMaster |
                                               kPciCommandIntxDisable));
  function_.write16(msix_capability_ + offsetof(MsixCap, control), kMsixControlEnable);
  return bars[table & kMsixBirMask] != 0;
}

Transport::FeatureWindow PciTransport::device_feature_window() const {
  return {common_ + kCommonDeviceFeatureSelect, common_ + kCommonDeviceFeature};
}
Transport::FeatureWindow PciTransport::driver_feature_window() const {
  return {common_ + kCommonDriverFeatureSelect, common_ + kCommonDriverFeature};
}

std::uint8_t PciTransport::status() { return mmio_read8(common_ + kCommonDeviceStatus); }
void PciTransport::set_status(std::uint8_t status) {
  mmio_write8(common_ + kCommonDeviceStatus, status);
}

std::uint8_t PciTransport::config_read8(std::uint32_t offset) {
  return mmio_read8(device_config_ + offset);
}
std::uint32_t PciTransport::config_read32(std::uint32_t offset) {
  return mmio_read32(device_config_ + offset);
}
std::uint32_t PciTransport::config_generation() {
  return mmio_read8(common_ + kCommonConfigGeneration);
}

void PciTransport::select_queue(std::uint16_t queue) {
  mmio_write16(common_ + kCommonQueueSelect, queue);
}

std::uint32_t PciTransport::queue_max_size(std::uint16_t queue) {
  if (queue >= mmio_read16(common_ + kCommonNumQueues)) return 0;
  select_queue(queue);
  return mmio_read16(common_ + kCommonQueueSize);
}

void Transport::write_msix_entry(std::uint64_t table, std::uint16_t entry, unsigned counter,
                                 std::uint32_t cpu) {
  const std::uint64_t at = table + entry * sizeof(MsixEntry);
  mmio_write32(at + offsetof(MsixEntry, address_low), msi_address(cpu));
  mmio_write32(at + offsetof(MsixEntry, address_high), 0);
  mmio_write32(at + offsetof(MsixEntry, data),
               msi_data(static_cast<std::uint8_t>(kFirstVector + counter)));
  mmio_write32(at + offsetof(MsixEntry, control), 0);
}

bool PciTransport::enable_queue(std::uint16_t queue, std::uint32_t size, QueueAddresses addresses,
                                unsigned counter, std::uint32_t cpu, Notifier* notifier) {
  // Vector 0 is left to configuration changes where there is more than one.
  const auto entry = static_cast<std::uint16_t>(vectors_ > queue + 1U ? queue + 1 : queue);
  if (entry >= vectors_) return false;
  write_msix_entry(msix_table_, entry, counter, cpu);

  select_queue(queue);
  mmio_write16(common_ + kCommonQueueSize, static_cast<std::uint16_t>(size));
  mmio_write16(common_ + kCommonQueueMsixVector, entry);
  if (mmio_read16(common_ + kCommonQueueMsixVector) != entry) return false;
  write_queue_addresses(
      {common_ + kCommonQueueDesc, common_ + kCommonQueueDriver, common_ + kCommonQueueDevice},
      addresses);
  const std::uint64_t offset =
      std::uint64_t{mmio_read16(common_ + kCommonQueueNotifyOff)} * notify_multiplier_;
  if (offset + 2 > notify_length_) return false;
  *notifier = Notifier{notify_ + offset, queue, Notifier::Way::kStore16};
  mmio_write16(common_ + kCommonQueueEnable, 1);
  return true;
}

bool PciTransport::reset_queue(std::uint16_t queue) {
  select_queue(queue);
  mmio_write16(common_ + kCommonQueueReset, 1);
  return wait_until([this] {
    return mmio_read16(common_ + kCommonQueueReset) == 0 &&
           mmio_read16(common_ + kCommonQueueEnable) == 0;
  });
}

}  // namespace bellhop::guest
