#include "guest/cpu.h"
#include "guest/interrupts.h"
#include "guest/transport.h"
#include "virtio/abi/config.h"
#include "virtio/abi/pci_legacy.h"

namespace bellhop::guest {

using namespace bellhop::virtio;

bool LegacyTransport::open(PciFunction function, std::uint16_t device_type) {
  const std::uint16_t id = function.read16(kPciDeviceIdOffset);
  if (id < kPciTransitionalFirst || id > kPciTransitionalLast ||
      function.read16(kPciSubsystemIdOffset) != device_type) {
    return false;
  }
  const std::uint32_t bar = function.read32(kPciBar0Offset);
  const std::uint8_t msix = function.find_capability(kPciCapIdMsix, 0);
  if ((bar & kPciBarIo) == 0 || msix == 0) return false;
  port_ = static_cast<std::uint16_t>(bar & ~3U);
  const std::uint16_t command = function.read16(kPciCommandOffset);
  function.write16(kPciCommandOffset, static_cast<std::uint16_t>(command & ~kPciCommandMemory));
  const std::uint32_t table = function.read32(msix + offsetof(MsixCap, table));
  const std::uint64_t at = function.bar_address(table & kMsixBirMask);
  msix_table_ = at + (table & ~kMsixBirMask);
  vectors_ = (function.read16(msix + offsetof(MsixCap, control)) & kMsixControlSizeMask) + 1U;
  function.write16(kPciCommandOffset,
                   static_cast<std::uint16_t>(command | kPciCommandIo | kPciCommandMemory |
                                              kPciCommandBusMaster | kPciCommandIntxDisable));
  function.write16(msix + offsetof(MsixCap, control), kMsixControlEnable);
  return at != 0 && port_ != 0;
}

const char* LegacyTransport::negotiate(std::uint64_t wanted, std::uint64_t* offered,
                                       std::uint64_t* agreed) {
  if (!reset()) return "reset does not end";
  set_status(kStatusAcknowledge);
  set_status(kStatusAcknowledge | kStatusDriver);
  *offered = in32(port(kLegacyDeviceFeatures));
  *agreed = *offered & wanted;
  out32(port(kLegacyDriverFeatures), static_cast<std::uint32_t>(*agreed));
  return nullptr;
}

void LegacyTransport::go() { set_status(kStatusAcknowledge | kStatusDriver | kStatusDriverOk); }

std::uint8_t LegacyTransport::status() { return in8(port(kLegacyDeviceStatus)); }
void LegacyTransport::set_status(std::uint8_t status) { out8(port(kLegacyDeviceStatus), status); }

std::uint8_t LegacyTransport::config_read8(std::uint32_t offset) {
  return in8(port(kLegacyConfigWithMsix + offset));
}
std::uint32_t LegacyTransport::config_read32(std::uint32_t offset) {
  return in32(port(kLegacyConfigWithMsix + offset));
}

std::uint32_t LegacyTransport::queue_max_size(std::uint16_t queue) {
  out16(port(kLegacyQueueSelect), queue);
  return in16(port(kLegacyQueueSize));
}

bool LegacyTransport::enable_queue(std::uint16_t queue, std::uint32_t size,
                                   QueueAddresses addresses, unsigned counter, std::uint32_t cpu,
                                   Notifier* notifier) {
  const auto entry = static_cast<std::uint16_t>(vectors_ > queue + 1U ? queue + 1 : queue);
  // The size is the device's to choose.
  if (entry >= vectors_ || queue_max_size(queue) != size) return false;
  write_msix_entry(msix_table_, entry, counter, cpu);
  out16(port(kLegacyQueueVector), entry);
  if (in16(port(kLegacyQueueVector)) != entry) return false;
  out32(port(kLegacyQueueAddress), static_cast<std::uint32_t>(addresses.desc >> kLegacyPageShift));
  *notifier = Notifier{port(kLegacyQueueNotify), queue, Notifier::Way::kOut16};
  return true;
}

}  // namespace bellhop::guest
