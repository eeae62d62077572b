#include "testing/register_driver.h"

#include <array>
#include <cstddef>

#include "transport/register_access.h"
#include "virtio/abi/config.h"
#include "virtio/abi/mmio.h"
#include "virtio/abi/pci.h"
#include "virtio/abi/ring.h"

namespace bellhop::testing {

using namespace virtio;

// ---- GuestPort ----

void GuestPort::exit(VcpuExit::Reason reason, std::uint64_t address,
                     std::span<std::byte> data) const {
  switch (reason) {
    case VcpuExit::Reason::kMmioRead:
      mmio_->read(address, data);
      break;
    case VcpuExit::Reason::kMmioWrite:
      mmio_->write(address, data);
      break;
    case VcpuExit::Reason::kPioIn:
      ports_->read(address, data);
      break;
    case VcpuExit::Reason::kPioOut:
      ports_->write(address, data);
      break;
    default:
      break;
  }
}

std::uint64_t GuestPort::load(std::uint64_t address, unsigned width) const {
  std::array<std::byte, 8> data{};
  exit(VcpuExit::Reason::kMmioRead, address, std::span(data).first(width));
  return load_le(data);
}

void GuestPort::store(std::uint64_t address, std::uint64_t value, unsigned width) {
  if (vm_->guest_write(IoSpace::kMmio, address, value, width)) {
    ++rings_;
    return;
  }
  ++exits_;
  std::array<std::byte, 8> data{};
  store_le(data, value);
  exit(VcpuExit::Reason::kMmioWrite, address, std::span(data).first(width));
}

std::uint32_t GuestPort::in(std::uint16_t port, unsigned width) const {
  std::array<std::byte, 4> data{};
  exit(VcpuExit::Reason::kPioIn, port, std::span(data).first(width));
  return static_cast<std::uint32_t>(load_le(data));
}

void GuestPort::out(std::uint16_t port, std::uint32_t value, unsigned width) {
  if (vm_->guest_write(IoSpace::kPio, port, value, width)) {
    ++rings_;
    return;
  }
  std::array<std::byte, 4> data{};
  store_le(data, value);
  exit(VcpuExit::Reason::kPioOut, port, std::span(data).first(width));
}

// ---- RegisterDriver ----

bool RegisterDriver::negotiate(std::uint64_t features) {
  set_status(0);
  if (status() != 0) return false;
  set_status(kStatusAcknowledge);
  set_status(kStatusAcknowledge | kStatusDriver);
  set_driver_features(features);
  set_status(kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk);
  return (status() & kStatusFeaturesOk) != 0;
}

bool RegisterDriver::bring_up(std::uint64_t features, std::span<const QueueConfig> queues) {
  if (!negotiate(features)) return false;
  for (std::size_t i = 0; i < queues.size(); ++i) {
    const auto queue = static_cast<std::uint16_t>(i);
    if (queue_max_size(queue) < queues[i].size) return false;
    write_queue(queue, queues[i]);
    enable_queue(queue);
  }
  set_status(kStatusAcknowledge | kStatusDriver | kStatusFeaturesOk | kStatusDriverOk);
  return (status() & (kStatusDriverOk | kStatusNeedsReset)) == kStatusDriverOk;
}

// ---- PCI ----

namespace {

std::uint32_t config_selector(unsigned device, std::uint32_t offset) {
  return kPciConfigEnable | device << 11 | (offset & 0xfc);
}

}  // namespace

// The address register is shared, as on a PC: one thread at a time.
std::uint32_t PciRegisterDriver::config_read(std::uint32_t offset, unsigned width) const {
  port_->out(kPciConfigAddressPort, config_selector(device_, offset), 4);
  return port_->in(static_cast<std::uint16_t>(kPciConfigDataPort + (offset & 3)), width);
}

void PciRegisterDriver::config_write(std::uint32_t offset, std::uint32_t value, unsigned width) {
  port_->out(kPciConfigAddressPort, config_selector(device_, offset), 4);
  port_->out(static_cast<std::uint16_t>(kPciConfigDataPort + (offset & 3)), value, width);
}

std::vector<std::uint32_t> PciRegisterDriver::capabilities(std::uint8_t id) const {
  std::vector<std::uint32_t> found;
  if ((config_read(kPciStatusOffset, 2) & kPciStatusCapList) == 0) return found;
  std::uint32_t at = config_read(kPciCapPointerOffset, 1);
  for (unsigned hops = 0; at != 0 && hops < 48; ++hops) {
    if (config_read(at, 1) == id) found.push_back(at);
    at = config_read(at + 1, 1);
  }
  return found;
}

bool PciRegisterDriver::probe() {
  // What it found stays true, and other threads may be using it.
  if (window_ == 0 && !find()) return false;
  set_command(kPciCommandMemory | kPciCommandBusMaster | kPciCommandIntxDisable);
  set_msix_control(kMsixControlEnable);
  return true;
}

bool PciRegisterDriver::find() {
  if (config_read(kPciVendorIdOffset, 2) != kPciVendorId) return false;
  const auto field = [this](std::uint32_t cap, std::size_t offset, unsigned width) {
    return config_read(cap + static_cast<std::uint32_t>(offset), width);
  };
  for (const std::uint32_t cap : capabilities(kPciCapIdVendor)) {
    const std::uint32_t offset = field(cap, offsetof(PciCap, offset), 4);
    switch (field(cap, offsetof(PciCap, cfg_type), 1)) {
      case kPciCapCommonCfg:
        common_ = offset;
        break;
      case kPciCapIsrCfg:
        isr_ = offset;
        break;
      case kPciCapDeviceCfg:
        device_config_ = offset;
        break;
      case kPciCapNotifyCfg:
        notify_ = offset;
        multiplier_ = field(cap, offsetof(PciNotifyCap, notify_off_multiplier), 4);
        break;
      case kPciCapPciCfg:
        window_ = cap;
        break;
      default:
        break;
    }
  }
  const auto msix = capabilities(kPciCapIdMsix);
  if (msix.size() != 1 || window_ == 0) return false;
  msix_ = msix.front();
  table_ = field(msix_, offsetof(MsixCap, table), 4) & ~kMsixBirMask;
  bar_offset_ = kPciBar0Offset + 4 * (field(msix_, offsetof(MsixCap, pba), 4) & kMsixBirMask);
  pending_ = field(msix_, offsetof(MsixCap, pba), 4) & ~kMsixBirMask;
  locate();
  return true;
}

void PciRegisterDriver::locate() {
  bar_ = config_read(bar_offset_, 4) & ~std::uint32_t{15};
  bar_ |= std::uint64_t{config_read(bar_offset_ + 4, 4)} << 32;
}

void PciRegisterDriver::set_command(std::uint16_t command) {
  config_write(kPciCommandOffset, command, 2);
}

void PciRegisterDriver::move_bar(std::uint64_t address) {
  config_write(bar_offset_, static_cast<std::uint32_t>(address), 4);
  config_write(bar_offset_ + 4, static_cast<std::uint32_t>(address >> 32), 4);
  bar_ = address;
}

std::uint64_t PciRegisterDriver::bar_bytes() {
  const std::uint32_t low = config_read(bar_offset_, 4);
  const std::uint32_t high = config_read(bar_offset_ + 4, 4);
  config_write(bar_offset_, UINT32_MAX, 4);
  config_write(bar_offset_ + 4, UINT32_MAX, 4);
  std::uint64_t mask = config_read(bar_offset_, 4) & ~std::uint32_t{15};
  mask |= std::uint64_t{config_read(bar_offset_ + 4, 4)} << 32;
  config_write(bar_offset_, low, 4);
  config_write(bar_offset_ + 4, high, 4);
  return ~mask + 1;
}

void PciRegisterDriver::write_vector(unsigned vector, std::uint64_t address, std::uint32_t data,
                                     bool masked) {
  const std::uint64_t entry = bar_ + table_ + sizeof(MsixEntry) * vector;
  port_->store(entry + offsetof(MsixEntry, address_low), address & UINT32_MAX, 4);
  port_->store(entry + offsetof(MsixEntry, address_high), address >> 32, 4);
  port_->store(entry + offsetof(MsixEntry, data), data, 4);
  mask_vector(vector, masked);
}

void PciRegisterDriver::mask_vector(unsigned vector, bool masked) {
  port_->store(bar_ + table_ + sizeof(MsixEntry) * vector + offsetof(MsixEntry, control),
               masked ? kMsixEntryMasked : 0, 4);
}

std::uint64_t PciRegisterDriver::pending_bits() const { return port_->load(bar_ + pending_, 8); }

void PciRegisterDriver::set_msix_control(std::uint16_t control) {
  config_write(msix_ + static_cast<std::uint32_t>(offsetof(MsixCap, control)), control, 2);
}

std::uint64_t PciRegisterDriver::common(std::uint32_t offset, unsigned width) const {
  return port_->load(bar_ + common_ + offset, width);
}

void PciRegisterDriver::set_common(std::uint32_t offset, std::uint64_t value, unsigned width) {
  port_->store(bar_ + common_ + offset, value, width);
}

std::uint64_t PciRegisterDriver::notify_address(std::uint16_t queue) {
  set_common(kCommonQueueSelect, queue, 2);
  return bar_ + notify_ + common(kCommonQueueNotifyOff, 2) * multiplier_;
}

std::uint32_t PciRegisterDriver::window_read(std::uint32_t offset, unsigned width) {
  config_write(window_ + static_cast<std::uint32_t>(offsetof(PciCap, bar)), 0, 1);
  config_write(window_ + static_cast<std::uint32_t>(offsetof(PciCap, offset)), offset, 4);
  config_write(window_ + static_cast<std::uint32_t>(offsetof(PciCap, length)), width, 4);
  return config_read(window_ + static_cast<std::uint32_t>(offsetof(PciCfgCap, pci_cfg_data)),
                     width);
}

void PciRegisterDriver::window_write(std::uint32_t offset, std::uint32_t value, unsigned width) {
  config_write(window_ + static_cast<std::uint32_t>(offsetof(PciCap, bar)), 0, 1);
  config_write(window_ + static_cast<std::uint32_t>(offsetof(PciCap, offset)), offset, 4);
  config_write(window_ + static_cast<std::uint32_t>(offsetof(PciCap, length)), width, 4);
  config_write(window_ + static_cast<std::uint32_t>(offsetof(PciCfgCap, pci_cfg_data)), value,
               width);
}

std::uint8_t PciRegisterDriver::status() {
  return static_cast<std::uint8_t>(common(kCommonDeviceStatus, 1));
}
void PciRegisterDriver::set_status(std::uint8_t status) {
  set_common(kCommonDeviceStatus, status, 1);
}

std::uint64_t PciRegisterDriver::device_features() {
  set_common(kCommonDeviceFeatureSelect, 0, 4);
  const std::uint64_t low = common(kCommonDeviceFeature, 4);
  set_common(kCommonDeviceFeatureSelect, 1, 4);
  return low | common(kCommonDeviceFeature, 4) << 32;
}

void PciRegisterDriver::set_driver_features(std::uint64_t features) {
  set_common(kCommonDriverFeatureSelect, 0, 4);
  set_common(kCommonDriverFeature, features & UINT32_MAX, 4);
  set_common(kCommonDriverFeatureSelect, 1, 4);
  set_common(kCommonDriverFeature, features >> 32, 4);
}

std::uint32_t PciRegisterDriver::queue_max_size(std::uint16_t queue) {
  set_common(kCommonQueueSelect, queue, 2);
  return static_cast<std::uint32_t>(common(kCommonQueueSize, 2));
}

void PciRegisterDriver::write_queue(std::uint16_t queue, const QueueConfig& config) {
  set_common(kCommonQueueSelect, queue, 2);
  set_common(kCommonQueueSize, config.size, 2);
  set_common(kCommonQueueDesc, config.desc.value() & UINT32_MAX, 4);
  set_common(kCommonQueueDesc + 4, config.desc.value() >> 32, 4);
  set_common(kCommonQueueDriver, config.driver.value() & UINT32_MAX, 4);
  set_common(kCommonQueueDriver + 4, config.driver.value() >> 32, 4);
  set_common(kCommonQueueDevice, config.device.value(), 8);
  set_common(kCommonQueueMsixVector, queue + 1U, 2);  // 0 is the configuration's
}

void PciRegisterDriver::enable_queue(std::uint16_t queue) {
  set_common(kCommonQueueSelect, queue, 2);
  set_common(kCommonQueueEnable, 1, 2);
}

bool PciRegisterDriver::queue_enabled(std::uint16_t queue) {
  set_common(kCommonQueueSelect, queue, 2);
  return common(kCommonQueueEnable, 2) != 0;
}

void PciRegisterDriver::reset_queue(std::uint16_t queue) {
  set_common(kCommonQueueSelect, queue, 2);
  set_common(kCommonQueueReset, 1, 2);
}

bool PciRegisterDriver::queue_in_reset(std::uint16_t queue) {
  set_common(kCommonQueueSelect, queue, 2);
  return common(kCommonQueueReset, 2) != 0;
}

std::uint64_t PciRegisterDriver::queue_desc(std::uint16_t queue) {
  set_common(kCommonQueueSelect, queue, 2);
  return common(kCommonQueueDesc, 8);
}

// notify_off of queue i is i: no register access, so that several threads may kick.
void PciRegisterDriver::kick(std::uint16_t queue) {
  port_->store(bar_ + notify_ + std::uint64_t{multiplier_} * queue, queue, 2);
}

void PciRegisterDriver::kick_with_data(std::uint16_t queue, std::uint16_t next) {
  port_->store(bar_ + notify_ + std::uint64_t{multiplier_} * queue,
               queue | std::uint32_t{next} << 16, 4);
}

// ---- MMIO ----

std::uint32_t MmioRegisterDriver::reg(std::uint32_t offset) const {
  return static_cast<std::uint32_t>(port_->load(base_ + offset, 4));
}
void MmioRegisterDriver::set_reg(std::uint32_t offset, std::uint32_t value) {
  port_->store(base_ + offset, value, 4);
}

std::uint8_t MmioRegisterDriver::status() { return static_cast<std::uint8_t>(reg(kMmioStatus)); }
void MmioRegisterDriver::set_status(std::uint8_t status) { set_reg(kMmioStatus, status); }

std::uint64_t MmioRegisterDriver::device_features() {
  set_reg(kMmioDeviceFeaturesSel, 0);
  const std::uint64_t low = reg(kMmioDeviceFeatures);
  set_reg(kMmioDeviceFeaturesSel, 1);
  return low | std::uint64_t{reg(kMmioDeviceFeatures)} << 32;
}

void MmioRegisterDriver::set_driver_features(std::uint64_t features) {
  set_reg(kMmioDriverFeaturesSel, 0);
  set_reg(kMmioDriverFeatures, static_cast<std::uint32_t>(features));
  set_reg(kMmioDriverFeaturesSel, 1);
  set_reg(kMmioDriverFeatures, static_cast<std::uint32_t>(features >> 32));
}

std::uint32_t MmioRegisterDriver::queue_max_size(std::uint16_t queue) {
  set_reg(kMmioQueueSel, queue);
  return reg(kMmioQueueSizeMax);
}

void MmioRegisterDriver::write_queue(std::uint16_t queue, const QueueConfig& config) {
  set_reg(kMmioQueueSel, queue);
  set_reg(kMmioQueueSize, config.size);
  const auto address = [this](std::uint32_t low, GuestAddress value) {
    set_reg(low, static_cast<std::uint32_t>(value.value()));
    set_reg(low + 4, static_cast<std::uint32_t>(value.value() >> 32));
  };
  address(kMmioQueueDescLow, config.desc);
  address(kMmioQueueDriverLow, config.driver);
  address(kMmioQueueDeviceLow, config.device);
}

void MmioRegisterDriver::enable_queue(std::uint16_t queue) {
  set_reg(kMmioQueueSel, queue);
  set_reg(kMmioQueueReady, 1);
}

bool MmioRegisterDriver::queue_enabled(std::uint16_t queue) {
  set_reg(kMmioQueueSel, queue);
  return reg(kMmioQueueReady) != 0;
}

void MmioRegisterDriver::reset_queue(std::uint16_t queue) {
  set_reg(kMmioQueueSel, queue);
  set_reg(kMmioQueueReset, 1);
}

bool MmioRegisterDriver::queue_in_reset(std::uint16_t queue) {
  set_reg(kMmioQueueSel, queue);
  return reg(kMmioQueueReset) != 0;
}

// Write-only here (4.2.2): nothing to compare.
std::uint64_t MmioRegisterDriver::queue_desc(std::uint16_t) { return reg(kMmioQueueDescLow); }

std::uint64_t MmioRegisterDriver::config_address() const { return base_ + kMmioConfig; }

void MmioRegisterDriver::kick(std::uint16_t queue) { set_reg(kMmioQueueNotify, queue); }

void MmioRegisterDriver::kick_with_data(std::uint16_t queue, std::uint16_t next) {
  set_reg(kMmioQueueNotify, queue | std::uint32_t{next} << 16);
}

}  // namespace bellhop::testing
