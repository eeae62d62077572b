#include "guest/pci.h"

#include "guest/cmdline.h"
#include "guest/cpu.h"
#include "guest/memory.h"
#include "virtio/abi/pci.h"

namespace bellhop::guest {

using namespace bellhop::virtio;

namespace {

constexpr std::uint64_t kDefaultWindow = 0xe0000000;
constinit std::uint64_t window_next = 0;

void select(PciFunction f, std::uint32_t offset) {
  out32(kPciConfigAddressPort, kPciConfigEnable | static_cast<std::uint32_t>(f.device << 11) |
                                   static_cast<std::uint32_t>(f.function << 8) | (offset & 0xfc));
}

}  // namespace

std::uint32_t PciFunction::read32(std::uint32_t offset) const {
  select(*this, offset);
  return in32(kPciConfigDataPort);
}
std::uint16_t PciFunction::read16(std::uint32_t offset) const {
  return static_cast<std::uint16_t>(read32(offset) >> (8 * (offset & 2)));
}
std::uint8_t PciFunction::read8(std::uint32_t offset) const {
  return static_cast<std::uint8_t>(read32(offset) >> (8 * (offset & 3)));
}
void PciFunction::write32(std::uint32_t offset, std::uint32_t value) const {
  select(*this, offset);
  out32(kPciConfigDataPort, value);
}
void PciFunction::write16(std::uint32_t offset, std::uint16_t value) const {
  select(*this, offset);
  const auto port = static_cast<std::uint16_t>(kPciConfigDataPort + (offset & 2));
  asm volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
void PciFunction::write8(std::uint32_t offset, std::uint8_t value) const {
  select(*this, offset);
  out8(static_cast<std::uint16_t>(kPciConfigDataPort + (offset & 3)), value);
}

std::uint8_t PciFunction::find_capability(std::uint8_t id, std::uint8_t previous) const {
  if ((read16(kPciStatusOffset) & kPciStatusCapList) == 0) return 0;
  std::uint8_t at =
      previous == 0 ? read8(kPciCapPointerOffset) : read8(static_cast<std::uint32_t>(previous + 1));
  for (unsigned hops = 0; hops < 48 && at >= 0x40; ++hops) {
    at &= 0xfc;
    const std::uint16_t head = read16(at);
    if ((head & 0xff) == id) return at;
    at = static_cast<std::uint8_t>(head >> 8);
  }
  return 0;
}

std::uint64_t PciFunction::bar_address(unsigned index) const {
  if (index >= kPciBarCount) return 0;
  const std::uint32_t offset = kPciBar0Offset + 4 * index;
  const std::uint32_t low = read32(offset);
  if ((low & kPciBarIo) != 0) return 0;
  const bool wide = (low & kPciBarTypeMask) == kPciBarType64;
  std::uint64_t address = low & ~std::uint32_t{15};
  if (wide) address |= std::uint64_t{read32(offset + 4)} << 32;
  write32(offset, ~std::uint32_t{0});
  const std::uint32_t mask = read32(offset) & ~std::uint32_t{15};
  write32(offset, low);
  if (mask == 0) return 0;
  const std::uint64_t bytes = ~mask + std::uint32_t{1};
  if (address == 0) {
    address = pci_window_take(bytes);
    set_bar(index, address);
  }
  return map_device(address, bytes) ? address : 0;
}

void PciFunction::set_bar(unsigned index, std::uint64_t address) const {
  const std::uint32_t offset = kPciBar0Offset + 4 * index;
  const bool wide = (read32(offset) & kPciBarTypeMask) == kPciBarType64;
  write32(offset, static_cast<std::uint32_t>(address));
  if (wide) write32(offset + 4, static_cast<std::uint32_t>(address >> 32));
}

bool pci_scan(bool (*visit)(PciFunction, void*), void* context) {
  constexpr std::uint8_t kMultiFunction = 0x80;
  for (std::uint8_t device = 0; device < 32; ++device) {
    for (std::uint8_t function = 0; function < 8; ++function) {
      const PciFunction f{device, function};
      if (f.read16(kPciVendorIdOffset) == 0xffff) {
        if (function == 0) break;
        continue;
      }
      if (visit(f, context)) return true;
      if (function == 0 && (f.read8(kPciHeaderTypeOffset) & kMultiFunction) == 0) break;
    }
  }
  return false;
}

std::uint64_t pci_window_take(std::uint64_t bytes) {
  if (window_next == 0) window_next = cmdline_number("pci_window", kDefaultWindow);
  // A page at least: a function's registers never share one with another's.
  if (bytes < 4096) bytes = 4096;
  const std::uint64_t at = (window_next + bytes - 1) & ~(bytes - 1);
  window_next = at + bytes;
  return at;
}

}  // namespace bellhop::guest
