#include "transport/mmio/virtio_mmio_device.h"

#include <fmt/format.h>

#include <algorithm>

#include "transport/register_access.h"
#include "virtio/abi/config.h"
#include "virtio/abi/ring.h"

namespace bellhop {

using namespace virtio;

namespace {

constexpr std::uint32_t kVendorId = 0x4c4c4542;  // "BELL"
/// What the registers of a shared memory region that does not exist read (4.2.2).
constexpr std::uint32_t kNoSharedMemory = UINT32_MAX;
constexpr std::uint32_t kMaxConfigBytes = kMmioWindowBytes - kMmioConfig;

GuestAddress with_low(GuestAddress old, std::uint32_t value) noexcept {
  return GuestAddress((old.value() >> 32 << 32) | value);
}
GuestAddress with_high(GuestAddress old, std::uint32_t value) noexcept {
  return GuestAddress((old.value() & UINT32_MAX) | std::uint64_t{value} << 32);
}

}  // namespace

Result<std::unique_ptr<VirtioMmioDevice>> VirtioMmioDevice::create(
    std::unique_ptr<VirtioDevice> device, DeviceWiring wiring, HostBinder& host, Bus& mmio,
    Place place) {
  const DeviceTraits& traits = device->traits();
  if (traits.config_bytes > kMaxConfigBytes) {
    return fail(fmt::format("{}: {} bytes of configuration do not fit into a virtio-mmio window",
                            traits.id, traits.config_bytes));
  }
  std::unique_ptr<VirtioMmioDevice> made(
      new VirtioMmioDevice(traits.queue_count, host, mmio, place));
  auto negotiation = Negotiation::create(std::move(device), std::move(wiring), *made);
  if (!negotiation) return forward(negotiation);
  made->negotiation_ = std::move(*negotiation);
  if (auto bound = made->bind(); !bound) return forward(bound);
  return made;
}

Status VirtioMmioDevice::bind() {
  auto event = EventFd::create();
  if (!event) return forward(event);
  interrupt_ = std::move(*event);
  for (unsigned i = 0; i < life().queue_count(); ++i) {
    status_.bind_queue(i, life().interrupt(i));
    life().interrupt(i).point_at(&interrupt_);
  }
  status_.bind_config(config_interrupt_);
  config_interrupt_.point_at(&interrupt_);
  if (auto attached = host_->attach_interrupt(interrupt_, place_.gsi); !attached) return attached;
  interrupt_attached_ = true;
  BusDevice& registers = *this;
  if (auto there = mmio_->insert(place_.base, kMmioWindowBytes, registers); !there) return there;
  on_bus_ = true;
  return {};
}

VirtioMmioDevice::~VirtioMmioDevice() {
  if (on_bus_) mmio_->remove(place_.base);
  negotiation_.reset();
  if (interrupt_attached_) host_->detach_interrupt(interrupt_, place_.gsi);
}

void VirtioMmioDevice::reset() noexcept {
  negotiation_->reset();
  device_features_sel_ = 0;
  driver_features_sel_ = 0;
  queue_sel_ = 0;
}

void VirtioMmioDevice::read(std::uint64_t offset, std::span<std::byte> data) noexcept {
  const auto at = static_cast<std::uint32_t>(offset);
  if (at >= kMmioConfig) {
    life().read_config(at - kMmioConfig, data);
    return;
  }
  // 4.2.2.2: registers are read and written by 32 bits, aligned.
  if (data.size() != 4 || at % 4 != 0) {
    std::ranges::fill(data, std::byte{0});
    life().guest_fault("reads no register, or one by a wrong width");
    return;
  }
  store_le(data, read_register(at));
}

void VirtioMmioDevice::write(std::uint64_t offset, std::span<const std::byte> data) noexcept {
  const auto at = static_cast<std::uint32_t>(offset);
  if (at >= kMmioConfig) {
    life().write_config(at - kMmioConfig, data);
    return;
  }
  if (data.size() != 4 || at % 4 != 0) {
    life().guest_fault("writes no register, or one by a wrong width");
    return;
  }
  write_register(at, static_cast<std::uint32_t>(load_le(data)));
}

std::uint32_t VirtioMmioDevice::read_register(std::uint32_t offset) noexcept {
  switch (offset) {
    case kMmioMagicValue:
      return kMmioMagic;
    case kMmioVersionOffset:
      return kMmioVersion;
    case kMmioDeviceId:
      return static_cast<std::uint32_t>(life().traits().type);
    case kMmioVendorId:
      return kVendorId;
    case kMmioDeviceFeatures:
      return negotiation_->device_features(device_features_sel_.load(std::memory_order_relaxed));
    case kMmioQueueSizeMax:
      return queue_sel_.load(std::memory_order_relaxed) < life().queue_count()
                 ? life().queue_max_size()
                 : 0;
    case kMmioQueueReady:
      return life().queue(queue_sel_.load(std::memory_order_relaxed)).ready ? 1 : 0;
    case kMmioInterruptStatus:
      return status_.read() | negotiation_->unseen_interrupts();
    case kMmioStatus:
      return negotiation_->status();
    case kMmioShmLenLow:
    case kMmioShmLenHigh:
    case kMmioShmBaseLow:
    case kMmioShmBaseHigh:
      return kNoSharedMemory;
    case kMmioConfigGeneration:
      return life().config_generation();
    default:
      return 0;  // write-only, of features that are not offered, or nothing at all
  }
}

void VirtioMmioDevice::write_register(std::uint32_t offset, std::uint32_t value) noexcept {
  const std::uint32_t selected = queue_sel_.load(std::memory_order_relaxed);
  const auto change = [&](auto&& how) { life().change_queue(selected, how); };
  switch (offset) {
    case kMmioQueueNotify:
      life().notify(negotiation_->notification_data() ? value & UINT16_MAX : value);
      break;
    case kMmioInterruptAck:
      status_.take(value);
      break;
    case kMmioDeviceFeaturesSel:
      device_features_sel_.store(value, std::memory_order_relaxed);
      break;
    case kMmioDriverFeaturesSel:
      driver_features_sel_.store(value, std::memory_order_relaxed);
      break;
    case kMmioDriverFeatures:
      negotiation_->set_driver_features(driver_features_sel_.load(std::memory_order_relaxed),
                                        value);
      break;
    case kMmioQueueSel:
      queue_sel_.store(value, std::memory_order_relaxed);
      break;
    case kMmioQueueSize:
      // Sizes that do not fit the ring's own fields are refused like other impossible ones: 0.
      change([value](QueueConfig& queue) {
        queue.size = value <= kMaxQueueSize ? static_cast<std::uint16_t>(value) : std::uint16_t{0};
      });
      break;
    case kMmioQueueReady:
      if ((value & 1) != 0) {
        life().enable_queue(selected);
      } else {
        life().disable_queue(selected);
      }
      break;
    case kMmioQueueReset:
      // 4.2.2: one resets the queue. It reads 0 ever after: the write returns when it is done.
      if (value == 1) {
        negotiation_->reset_queue(selected);
      } else {
        life().guest_fault("writes QueueReset by another value than 1");
      }
      break;
    case kMmioStatus:
      // Bits past the eighth do not exist; a write with only such bits is no reset.
      if (value > UINT8_MAX) {
        life().guest_fault("writes status bits that do not exist");
      } else {
        negotiation_->write_status(static_cast<std::uint8_t>(value));
      }
      break;
    case kMmioQueueDescLow:
      change([value](QueueConfig& queue) { queue.desc = with_low(queue.desc, value); });
      break;
    case kMmioQueueDescHigh:
      change([value](QueueConfig& queue) { queue.desc = with_high(queue.desc, value); });
      break;
    case kMmioQueueDriverLow:
      change([value](QueueConfig& queue) { queue.driver = with_low(queue.driver, value); });
      break;
    case kMmioQueueDriverHigh:
      change([value](QueueConfig& queue) { queue.driver = with_high(queue.driver, value); });
      break;
    case kMmioQueueDeviceLow:
      change([value](QueueConfig& queue) { queue.device = with_low(queue.device, value); });
      break;
    case kMmioQueueDeviceHigh:
      change([value](QueueConfig& queue) { queue.device = with_high(queue.device, value); });
      break;
    case kMmioShmSel:
      break;  // there is none, whichever is asked for
    default:
      life().guest_fault("writes no register, or one that is read-only");
      break;
  }
}

Status VirtioMmioDevice::arm_doorbell(unsigned queue, Server server, const EventFd& doorbell) {
  IoEventMatch match{
      .address = place_.base + kMmioQueueNotify, .length = 4, .datamatch = std::nullopt};
  // With NOTIFICATION_DATA the values written for a queue differ. A single queue needs no match.
  if (!negotiation_->notification_data()) {
    match.datamatch = queue;
  } else if (life().queue_count() > 1) {
    return fail(
        "virtio-mmio has one register for all queues, and with NOTIFICATION_DATA no "
        "ioeventfd can tell them apart");
  }
  auto armed = host_->attach_doorbell(doorbell, match, server);
  if (armed) doorbells_[queue] = match;
  return armed;
}

void VirtioMmioDevice::disarm_doorbell(unsigned queue, const EventFd& doorbell) noexcept {
  host_->detach_doorbell(doorbell, doorbells_[queue]);
}

void VirtioMmioDevice::device_was_reset() noexcept { status_.take(UINT32_MAX); }

void VirtioMmioDevice::raise_config_interrupt() noexcept { config_interrupt_.raise(); }

}  // namespace bellhop
