#include "transport/pci/virtio_pci_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>

#include "transport/register_access.h"
#include "virtio/abi/config.h"
#include "virtio/abi/pci.h"
#include "virtio/abi/pci_legacy.h"

namespace bellhop {

using namespace virtio;

namespace {

/// BAR 0 is the legacy registers' if there are any; where others look for the rest is up to the
/// device, and QEMU's is here.
constexpr unsigned kModernMemoryBar = 0;
constexpr unsigned kTransitionalMemoryBar = 4;
constexpr unsigned kLegacyBar = 0;

bool is_transitional(const DeviceTraits& traits, PciStyle style) noexcept {
  return style == PciStyle::kTransitional && pci_transitional_id(traits.type) != 0;
}

/// PCI class of a device type: what guests show, and what some look for.
std::uint32_t class_code(DeviceType type) noexcept {
  switch (type) {
    case DeviceType::kNet:
      return 0x020000;
    case DeviceType::kBlock:
    case DeviceType::kScsi:
      return 0x010000;
    case DeviceType::kFs:
      return 0x018000;
    case DeviceType::kConsole:
    case DeviceType::kVsock:
      return 0x078000;
    case DeviceType::kInput:
      return 0x098000;
    case DeviceType::kCrypto:
      return 0x108000;
    default:
      return 0x00ff00;
  }
}

PciIdentity identity(const DeviceTraits& traits, PciStyle style) noexcept {
  if (is_transitional(traits, style)) {
    return {.vendor = kPciVendorId,
            .device = pci_transitional_id(traits.type),
            .revision = 0,
            .class_code = class_code(traits.type),
            .subsystem_vendor = kPciVendorId,
            .subsystem = static_cast<std::uint16_t>(traits.type)};
  }
  const auto id =
      static_cast<std::uint16_t>(kPciModernDeviceBase + static_cast<std::uint16_t>(traits.type));
  return {.vendor = kPciVendorId,
          .device = id,
          .revision = kPciModernRevision,
          .class_code = class_code(traits.type),
          .subsystem_vendor = kPciVendorId,
          .subsystem = id};
}

template <class Capability>
std::uint8_t add(PciConfigSpace& config, const Capability& capability) noexcept {
  return config.add_capability(std::as_bytes(std::span(&capability, 1)));
}

PciCap part(unsigned bar, std::uint8_t type, std::uint64_t offset, std::uint64_t length,
            std::size_t cap_bytes = sizeof(PciCap)) noexcept {
  return {.cap_vndr = kPciCapIdVendor,
          .cap_next = 0,
          .cap_len = static_cast<std::uint8_t>(cap_bytes),
          .cfg_type = type,
          .bar = static_cast<std::uint8_t>(bar),
          .id = 0,
          .padding = {},
          .offset = static_cast<std::uint32_t>(offset),
          .length = static_cast<std::uint32_t>(length)};
}

/// One half of a 64-bit address, or all of it.
GuestAddress merge(GuestAddress old, std::uint32_t byte, std::size_t bytes,
                   std::uint64_t value) noexcept {
  if (bytes == 8) return GuestAddress(value);
  const std::uint64_t low = byte == 0 ? value : old.value() & UINT32_MAX;
  const std::uint64_t high = byte == 0 ? old.value() >> 32 : value;
  return GuestAddress(high << 32 | low);
}

}  // namespace

Result<std::unique_ptr<VirtioPciDevice>> VirtioPciDevice::create(
    std::unique_ptr<VirtioDevice> device, DeviceWiring wiring, HostBinder& host, Buses buses,
    PciStyle style) {
  const DeviceTraits& traits = device->traits();
  if (traits.queue_count > kPartBytes / kNotifyMultiplier) {
    return fail(
        fmt::format("{}: {} queues are more than virtio-pci holds", traits.id, traits.queue_count));
  }
  std::unique_ptr<VirtioPciDevice> pci(new VirtioPciDevice(traits, host, buses, style));
  auto msix = Msix::create(host, std::min(traits.queue_count + 1U, kMaxVectors));
  if (!msix) return forward(msix);
  pci->msix_ = std::move(*msix);
  pci->add_capabilities(traits);
  auto negotiation = Negotiation::create(std::move(device), std::move(wiring), *pci);
  if (!negotiation) return forward(negotiation);
  pci->negotiation_ = std::move(*negotiation);
  for (unsigned i = 0; i < pci->life().queue_count(); ++i) {
    pci->isr_.bind_queue(i, pci->life().interrupt(i));
  }
  // As after power-on: no decoding, no bus mastering.
  pci->life().set_memory_access(MemoryAccess::kForbidden);
  return pci;
}

VirtioPciDevice::VirtioPciDevice(const DeviceTraits& traits, HostBinder& host, Buses buses,
                                 PciStyle style)
    : PciFunction(identity(traits, style)),
      host_(&host),
      buses_(buses),
      memory_bar_(is_transitional(traits, style) ? kTransitionalMemoryBar : kModernMemoryBar),
      isr_(traits.queue_count),
      config_vector_(kMsiNoVector),
      doorbells_(traits.queue_count),
      queue_vectors_(traits.queue_count) {
  for (auto& vector : queue_vectors_) vector = kMsiNoVector;
  isr_.bind_config(config_interrupt_);
  add_bar(IoSpace::kMmio, memory_bar_, kBarBytes);
  if (is_transitional(traits, style)) {
    add_bar(IoSpace::kPio, kLegacyBar,
            std::bit_ceil(std::uint64_t{kLegacyConfigWithMsix} + traits.config_bytes));
  }
}

VirtioPciDevice::~VirtioPciDevice() {
  for (const IoSpace space : kIoSpaces) {
    if (negotiation_) bar_moved(space, std::nullopt);
  }
  negotiation_.reset();
}

void VirtioPciDevice::add_capabilities(const DeviceTraits& traits) noexcept {
  add(config(), part(memory_bar_, kPciCapCommonCfg, kCommonOffset, kCommonCfgBytes));
  add(config(), PciNotifyCap{.cap = part(memory_bar_, kPciCapNotifyCfg, kNotifyOffset,
                                         std::uint64_t{kNotifyMultiplier} * traits.queue_count,
                                         sizeof(PciNotifyCap)),
                             .notify_off_multiplier = kNotifyMultiplier});
  add(config(), part(memory_bar_, kPciCapIsrCfg, kIsrOffset, 1));
  if (traits.config_bytes != 0) {
    add(config(), part(memory_bar_, kPciCapDeviceCfg, kDeviceOffset, traits.config_bytes));
  }
  window_cap_ =
      add(config(), PciCfgCap{.cap = part(memory_bar_, kPciCapPciCfg, 0, 0, sizeof(PciCfgCap)),
                              .pci_cfg_data = {}});
  // 4.1.4.9: the driver writes where the window looks, and through it.
  config().define(window_cap_ + offsetof(PciCap, bar), 1, 0, 0xff);
  config().define(window_cap_ + offsetof(PciCap, offset), 4, 0, UINT32_MAX);
  config().define(window_cap_ + offsetof(PciCap, length), 4, 0, UINT32_MAX);
  config().define(window_cap_ + offsetof(PciCfgCap, pci_cfg_data), 4, 0, UINT32_MAX);
  const auto last = static_cast<std::uint16_t>(msix_->size() - 1);
  msix_cap_ =
      add(config(), MsixCap{.cap_id = kPciCapIdMsix,
                            .cap_next = 0,
                            .control = last,
                            .table = static_cast<std::uint32_t>(kTableOffset) | memory_bar_,
                            .pba = static_cast<std::uint32_t>(kPendingOffset) | memory_bar_});
  config().define(msix_cap_ + offsetof(MsixCap, control), 2, last,
                  kMsixControlEnable | kMsixControlMaskAll);
}

// ---- registers ----

void VirtioPciDevice::write(std::uint64_t offset, std::span<const std::byte> data) noexcept {
  const auto at = static_cast<std::uint32_t>(offset % kPartBytes);
  bool taken = false;
  switch (offset / kPartBytes * kPartBytes) {
    case kNotifyOffset:
      // The address says which queue; the value repeats it (4.1.5.2), and may say how far the
      // driver has come (NOTIFICATION_DATA), which the ring says as well.
      if (at % kNotifyMultiplier != 0) break;
      life().notify(at / kNotifyMultiplier);
      return;
    case kCommonOffset:
      taken = write_common(at, data.size(), load_le(data));
      break;
    case kDeviceOffset:
      life().write_config(at, data);
      return;
    case kTableOffset:
      taken = msix_->write_table(at, data);
      break;
    default:
      break;
  }
  if (!taken) life().guest_fault("writes no register, or one by a wrong width");
}

void VirtioPciDevice::read(std::uint64_t offset, std::span<std::byte> data) noexcept {
  std::ranges::fill(data, std::byte{0});
  const auto at = static_cast<std::uint32_t>(offset % kPartBytes);
  bool taken = false;
  switch (offset / kPartBytes * kPartBytes) {
    case kCommonOffset:
      if (const auto value = read_common(at, data.size())) {
        store_le(data, *value);
        taken = true;
      }
      break;
    case kIsrOffset:
      // 4.1.4.5: reading takes the bits.
      if ((taken = at == 0)) {
        store_le(data, isr_.take(kInterruptUsedBuffer | kInterruptConfig) |
                           negotiation_->unseen_interrupts());
      }
      break;
    case kDeviceOffset:
      life().read_config(at, data);
      return;
    case kNotifyOffset:
      return;
    case kTableOffset:
      taken = msix_->read_table(at, data);
      break;
    case kPendingOffset:
      taken = msix_->read_pending(at, data);
      break;
    default:
      break;
  }
  if (!taken) life().guest_fault("reads no register, or one by a wrong width");
}

std::optional<std::uint64_t> VirtioPciDevice::read_common(std::uint32_t offset,
                                                          std::size_t bytes) noexcept {
  const std::uint16_t selected = queue_select_.load(std::memory_order_relaxed);
  const auto exact = [bytes](std::size_t width, std::uint64_t value) {
    return bytes == width ? std::optional(value) : std::nullopt;
  };
  const auto address = [bytes](std::uint32_t byte, GuestAddress value) {
    if (bytes == 8 && byte == 0) return std::optional(value.value());
    if (bytes == 4) return std::optional(value.value() >> (8 * byte) & UINT32_MAX);
    return std::optional<std::uint64_t>();
  };
  switch (offset) {
    case kCommonDeviceFeatureSelect:
      return exact(4, device_feature_select_.load(std::memory_order_relaxed));
    case kCommonDeviceFeature:
      return exact(
          4, negotiation_->device_features(device_feature_select_.load(std::memory_order_relaxed)));
    case kCommonDriverFeatureSelect:
      return exact(4, driver_feature_select_.load(std::memory_order_relaxed));
    case kCommonDriverFeature:
      return exact(
          4, negotiation_->driver_features(driver_feature_select_.load(std::memory_order_relaxed)));
    case kCommonConfigMsixVector:
      return exact(2, config_vector_.load(std::memory_order_relaxed));
    case kCommonNumQueues:
      return exact(2, life().queue_count());
    case kCommonDeviceStatus:
      return exact(1, negotiation_->status());
    case kCommonConfigGeneration:
      return exact(1, life().config_generation());
    case kCommonQueueSelect:
      return exact(2, selected);
    case kCommonQueueSize:
      return exact(2, life().queue(selected).size);
    case kCommonQueueMsixVector:
      return exact(2, queue_vector(selected));
    case kCommonQueueEnable:
      return exact(2, life().queue(selected).ready ? 1 : 0);
    case kCommonQueueNotifyOff:
      return exact(2, selected < life().queue_count() ? selected : 0);
    case kCommonQueueDesc:
    case kCommonQueueDesc + 4:
      return address(offset - kCommonQueueDesc, life().queue(selected).desc);
    case kCommonQueueDriver:
    case kCommonQueueDriver + 4:
      return address(offset - kCommonQueueDriver, life().queue(selected).driver);
    case kCommonQueueDevice:
    case kCommonQueueDevice + 4:
      return address(offset - kCommonQueueDevice, life().queue(selected).device);
    // 4.1.4.3.1: no reset is under way, since the write returns when it is done.
    case kCommonQueueReset:
    // Of features that are not offered.
    case kCommonQueueNotifConfigData:
    case kCommonAdminQueueIndex:
    case kCommonAdminQueueNum:
      return exact(2, 0);
    default:
      return std::nullopt;
  }
}

bool VirtioPciDevice::write_common(std::uint32_t offset, std::size_t bytes,
                                   std::uint64_t value) noexcept {
  const auto word = static_cast<std::uint32_t>(value);
  const auto half = static_cast<std::uint16_t>(value);
  const std::uint16_t selected = queue_select_.load(std::memory_order_relaxed);
  const auto address = [&](std::uint32_t byte, GuestAddress QueueConfig::*field) {
    if (bytes != 4 && (bytes != 8 || byte != 0)) return false;
    life().change_queue(selected, [&](QueueConfig& queue) {
      queue.*field = merge(queue.*field, byte, bytes, value);
    });
    return true;
  };
  switch (offset) {
    case kCommonDeviceFeatureSelect:
      if (bytes == 4) device_feature_select_.store(word, std::memory_order_relaxed);
      return bytes == 4;
    case kCommonDriverFeatureSelect:
      if (bytes == 4) driver_feature_select_.store(word, std::memory_order_relaxed);
      return bytes == 4;
    case kCommonDriverFeature:
      if (bytes == 4) {
        negotiation_->set_driver_features(driver_feature_select_.load(std::memory_order_relaxed),
                                          word);
      }
      return bytes == 4;
    case kCommonConfigMsixVector:
      if (bytes == 2) set_config_vector(half);
      return bytes == 2;
    case kCommonDeviceStatus:
      if (bytes == 1) negotiation_->write_status(static_cast<std::uint8_t>(value));
      return bytes == 1;
    case kCommonQueueSelect:
      if (bytes == 2) queue_select_.store(half, std::memory_order_relaxed);
      return bytes == 2;
    case kCommonQueueSize:
      if (bytes == 2) life().change_queue(selected, [half](QueueConfig& q) { q.size = half; });
      return bytes == 2;
    case kCommonQueueMsixVector:
      if (bytes == 2) set_queue_vector(half);
      return bytes == 2;
    case kCommonQueueEnable:
      // 4.1.4.3.2: the driver never writes 0.
      if (bytes != 2 || half != 1) return false;
      life().enable_queue(selected);
      return true;
    case kCommonQueueReset:
      if (bytes != 2 || half != 1) return false;
      reset_queue(selected);
      return true;
    case kCommonQueueDesc:
    case kCommonQueueDesc + 4:
      return address(offset - kCommonQueueDesc, &QueueConfig::desc);
    case kCommonQueueDriver:
    case kCommonQueueDriver + 4:
      return address(offset - kCommonQueueDriver, &QueueConfig::driver);
    case kCommonQueueDevice:
    case kCommonQueueDevice + 4:
      return address(offset - kCommonQueueDevice, &QueueConfig::device);
    default:
      return false;
  }
}

std::uint16_t VirtioPciDevice::queue_vector(std::uint32_t queue) const noexcept {
  return queue < queue_vectors_.size() ? queue_vectors_[queue].load(std::memory_order_relaxed)
                                       : kMsiNoVector;
}

// A vector that is not there reads back as NO_VECTOR (4.1.5.1.2.1).
void VirtioPciDevice::set_config_vector(std::uint16_t vector) noexcept {
  const EventFd* event = msix_->event(vector);
  config_vector_.store(event != nullptr ? vector : kMsiNoVector, std::memory_order_relaxed);
  config_interrupt_.point_at(event);
  if (event == nullptr && vector != kMsiNoVector) life().guest_fault("sets an absent vector");
}

void VirtioPciDevice::set_queue_vector(std::uint16_t vector) noexcept {
  const EventFd* event = msix_->event(vector);
  const std::uint32_t queue = queue_select_.load(std::memory_order_relaxed);
  life().set_queue_interrupt(queue, event);
  if (queue < queue_vectors_.size()) {
    queue_vectors_[queue].store(event != nullptr ? vector : kMsiNoVector,
                                std::memory_order_relaxed);
  }
  if (event == nullptr && vector != kMsiNoVector) life().guest_fault("sets an absent vector");
}

void VirtioPciDevice::reset_queue(std::uint16_t queue) noexcept {
  if (!negotiation_->reset_queue(queue) || queue >= queue_vectors_.size()) return;
  // The vector is of the queue's configuration, too: the driver sets it anew.
  queue_vectors_[queue].store(kMsiNoVector, std::memory_order_relaxed);
  life().set_queue_interrupt(queue, nullptr);
}

// ---- configuration space ----

void VirtioPciDevice::bar_moved(IoSpace space, std::optional<std::uint64_t> address) noexcept {
  const bool memory = space == IoSpace::kMmio;
  Bus* const bus = memory ? buses_.memory : buses_.ports;
  BusDevice& registers = memory ? static_cast<BusDevice&>(*this) : legacy_ports_;
  auto& at = addresses_[static_cast<unsigned>(space)];
  life().with_doorbells_disarmed([&] {
    if (at) bus->remove(*at);
    at.reset();
    if (!address) return;
    if (bus->insert(*address, bar_bytes(space), registers)) {
      at = address;
    } else {
      life().guest_fault("moves a BAR to where it cannot be");
    }
  });
}

void VirtioPciDevice::bus_master_changed(bool on) noexcept {
  bus_master_ = on;
  // Messages are writes to memory too. Opened before the device runs and closed after it rests, so
  // that no completion goes unheard; what comes between stays pending.
  if (on) update_delivery();
  life().set_memory_access(on ? MemoryAccess::kAllowed : MemoryAccess::kForbidden);
  if (!on) update_delivery();
}

void VirtioPciDevice::update_delivery() noexcept {
  const auto control = config().get(msix_cap_ + offsetof(MsixCap, control), 2);
  msix_enabled_.store((control & kMsixControlEnable) != 0, std::memory_order_relaxed);
  if ((control & kMsixControlEnable) == 0) {
    msix_->set_delivery(Msix::Delivery::kDisabled);
  } else if ((control & kMsixControlMaskAll) != 0 || !bus_master_) {
    msix_->set_delivery(Msix::Delivery::kMasked);
  } else {
    msix_->set_delivery(Msix::Delivery::kOpen);
  }
}

struct VirtioPciDevice::Window {
  std::uint64_t offset;
  std::size_t bytes;
  std::uint32_t data;  ///< where pci_cfg_data lies
};

std::optional<VirtioPciDevice::Window> VirtioPciDevice::window(std::uint32_t offset,
                                                               std::size_t bytes) noexcept {
  const auto data = static_cast<std::uint32_t>(window_cap_ + offsetof(PciCfgCap, pci_cfg_data));
  if (offset >= data + 4 || offset + bytes <= data) return std::nullopt;
  const std::uint64_t bar = config().get(window_cap_ + offsetof(PciCap, bar), 1);
  const std::uint64_t at = config().get(window_cap_ + offsetof(PciCap, offset), 4);
  const std::uint64_t length = config().get(window_cap_ + offsetof(PciCap, length), 4);
  if (length == 0) return std::nullopt;  // a dump of the configuration space
  const bool sound = bar == memory_bar_ && (length == 1 || length == 2 || length == 4) &&
                     at % length == 0 && at + length <= kBarBytes;
  if (!sound) {
    life().guest_fault("looks through the configuration window at nothing");
    return std::nullopt;
  }
  return Window{at, static_cast<std::size_t>(length), data};
}

void VirtioPciDevice::before_config_read(std::uint32_t offset, std::size_t bytes) noexcept {
  const auto through = window(offset, bytes);
  if (!through) return;
  std::array<std::byte, 4> data{};
  read(through->offset, std::span(data).first(through->bytes));
  config().set(through->data, static_cast<unsigned>(through->bytes), load_le(data));
}

void VirtioPciDevice::after_config_write(std::uint32_t offset, std::size_t bytes) noexcept {
  const std::uint32_t control = msix_cap_ + static_cast<std::uint32_t>(offsetof(MsixCap, control));
  if (offset < control + 2 && control < offset + bytes) update_delivery();
  const auto through = window(offset, bytes);
  if (!through) return;
  std::array<std::byte, 4> data{};
  store_le(data, config().get(through->data, 4));
  write(through->offset, std::span<const std::byte>(data).first(through->bytes));
}

void VirtioPciDevice::was_reset() noexcept {
  negotiation_->reset();
  device_feature_select_ = 0;
  driver_feature_select_ = 0;
  queue_select_ = 0;
  config().set(msix_cap_ + offsetof(MsixCap, control), 2, msix_->size() - 1);
  config().set(window_cap_ + offsetof(PciCap, bar), 1, 0);
  config().set(window_cap_ + offsetof(PciCap, offset), 8, 0);
  config().set(window_cap_ + offsetof(PciCfgCap, pci_cfg_data), 4, 0);
  msix_->reset();
  update_delivery();
}

// ---- TransportHost ----

bool VirtioPciDevice::doorbells_reachable() const noexcept {
  return addresses_[static_cast<unsigned>(negotiation_->legacy() ? IoSpace::kPio : IoSpace::kMmio)]
      .has_value();
}

Status VirtioPciDevice::arm_doorbell(unsigned queue, Server server, const EventFd& doorbell) {
  IoEventMatch match;
  if (negotiation_->legacy()) {
    // One word for all queues: the value written tells which.
    match = {.space = IoSpace::kPio,
             .address = *addresses_[static_cast<unsigned>(IoSpace::kPio)] + kLegacyQueueNotify,
             .length = 2,
             .datamatch = queue};
  } else {
    // Whatever its width, a write there is a kick.
    match = {.space = IoSpace::kMmio,
             .address = *addresses_[static_cast<unsigned>(IoSpace::kMmio)] + kNotifyOffset +
                        std::uint64_t{kNotifyMultiplier} * queue,
             .length = 0,
             .datamatch = std::nullopt};
  }
  auto armed = host_->attach_doorbell(doorbell, match, server);
  if (!armed && armed.error().code == EINVAL && match.length == 0) {
    // Hosts that know no such match get the width that drivers use; other widths then come as
    // exits and work as well.
    match.length = negotiation_->notification_data() ? 4 : 2;
    armed = host_->attach_doorbell(doorbell, match, server);
  }
  if (armed) doorbells_[queue] = match;
  return armed;
}

void VirtioPciDevice::disarm_doorbell(unsigned queue, const EventFd& doorbell) noexcept {
  host_->detach_doorbell(doorbell, doorbells_[queue]);
}

void VirtioPciDevice::device_was_reset() noexcept {
  config_vector_.store(kMsiNoVector, std::memory_order_relaxed);
  config_interrupt_.point_at(nullptr);
  for (unsigned i = 0; i < life().queue_count(); ++i) {
    queue_vectors_[i].store(kMsiNoVector, std::memory_order_relaxed);
    life().interrupt(i).point_at(nullptr);
  }
  isr_.take(kInterruptUsedBuffer | kInterruptConfig);
}

void VirtioPciDevice::raise_config_interrupt() noexcept { config_interrupt_.raise(); }

}  // namespace bellhop
