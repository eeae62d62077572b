// The legacy registers of a transitional device. The driver that uses them is told apart by its
// first write of the status here: the device is in the core's legacy dialect until the next reset.
#include <algorithm>

#include "transport/pci/virtio_pci_device.h"
#include "transport/register_access.h"
#include "virtio/abi/pci_legacy.h"
#include "virtio/abi/ring.h"

namespace bellhop {

using namespace virtio;

namespace {

/// 2.7.2: where the three parts of a ring of `size` entries lie that begins at page `page`.
void place_ring(QueueConfig& queue, std::uint32_t page) noexcept {
  const std::uint64_t desc = std::uint64_t{page} << kLegacyPageShift;
  const std::uint64_t avail = desc + std::uint64_t{queue.size} * sizeof(Desc);
  const std::uint64_t avail_end = avail + avail_ring_bytes(queue.size);
  queue.desc = GuestAddress(desc);
  queue.driver = GuestAddress(avail);
  queue.device = GuestAddress((avail_end + kLegacyPage - 1) / kLegacyPage * kLegacyPage);
  queue.ready = true;
}

}  // namespace

void VirtioPciDevice::read_legacy(std::uint64_t offset, std::span<std::byte> data) noexcept {
  std::ranges::fill(data, std::byte{0});
  const bool msix = msix_enabled_.load(std::memory_order_relaxed);
  const auto at = static_cast<std::uint32_t>(offset);
  const std::uint32_t config = msix ? kLegacyConfigWithMsix : kLegacyConfig;
  if (at >= config) {
    life().read_config(at - config, data);
    return;
  }
  const std::uint16_t selected = queue_select_.load(std::memory_order_relaxed);
  const auto answer = [&](std::size_t width, std::uint64_t value) {
    if (data.size() != width) return false;
    store_le(data, value);
    return true;
  };
  bool taken = false;
  switch (at) {
    case kLegacyDeviceFeatures:
      taken = answer(4, negotiation_->legacy_features());
      break;
    case kLegacyDriverFeatures:
      taken = answer(4, negotiation_->driver_features(0));
      break;
    case kLegacyQueueAddress: {
      const QueueConfig queue = life().queue(selected);
      taken = answer(4, queue.ready ? queue.desc.value() >> kLegacyPageShift : 0);
      break;
    }
    case kLegacyQueueSize:
      taken = answer(2, life().queue(selected).size);
      break;
    case kLegacyQueueSelect:
      taken = answer(2, selected);
      break;
    case kLegacyQueueNotify:
      taken = answer(2, 0);
      break;
    case kLegacyDeviceStatus:
      taken = answer(1, negotiation_->status());
      break;
    case kLegacyIsr:
      taken = answer(1, data.size() == 1 ? isr_.take(kInterruptUsedBuffer | kInterruptConfig) |
                                               negotiation_->unseen_interrupts()
                                         : 0);
      break;
    case kLegacyConfigVector:
      taken = answer(2, config_vector_.load(std::memory_order_relaxed));
      break;
    case kLegacyQueueVector:
      taken = answer(2, queue_vector(selected));
      break;
    default:
      break;
  }
  if (!taken) life().guest_fault("reads no legacy register, or one by a wrong width");
}

void VirtioPciDevice::write_legacy(std::uint64_t offset, std::span<const std::byte> data) noexcept {
  const bool msix = msix_enabled_.load(std::memory_order_relaxed);
  const auto at = static_cast<std::uint32_t>(offset);
  const std::uint32_t config = msix ? kLegacyConfigWithMsix : kLegacyConfig;
  if (at >= config) {
    life().write_config(at - config, data);
    return;
  }
  const std::uint64_t value = load_le(data);
  const auto word = static_cast<std::uint32_t>(value);
  const auto half = static_cast<std::uint16_t>(value);
  const std::uint16_t selected = queue_select_.load(std::memory_order_relaxed);
  bool taken = false;
  switch (at) {
    case kLegacyDriverFeatures:
      if ((taken = data.size() == 4)) negotiation_->set_driver_features(0, word);
      break;
    case kLegacyQueueAddress:
      if (!(taken = data.size() == 4)) break;
      if (word == 0) {
        life().disable_queue(selected);
      } else {
        life().change_queue(selected, [word](QueueConfig& queue) { place_ring(queue, word); });
      }
      break;
    case kLegacyQueueSelect:
      if ((taken = data.size() == 2)) queue_select_.store(half, std::memory_order_relaxed);
      break;
    case kLegacyQueueNotify:
      // Of any width: the value says which queue.
      life().notify(half);
      return;
    case kLegacyDeviceStatus:
      if ((taken = data.size() == 1)) {
        negotiation_->write_legacy_status(static_cast<std::uint8_t>(value));
      }
      break;
    case kLegacyConfigVector:
      if ((taken = data.size() == 2)) set_config_vector(half);
      break;
    case kLegacyQueueVector:
      if ((taken = data.size() == 2)) set_queue_vector(half);
      break;
    default:
      break;
  }
  if (!taken) life().guest_fault("writes no legacy register, or one by a wrong width");
}

}  // namespace bellhop
