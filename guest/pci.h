#pragma once

#include <cstdint>

// PCI configuration space by ports 0xcf8/0xcfc, and BARs.
namespace bellhop::guest {

/// A function on bus 0.
struct PciFunction {
  std::uint8_t device = 0;
  std::uint8_t function = 0;

  std::uint8_t read8(std::uint32_t offset) const;
  std::uint16_t read16(std::uint32_t offset) const;
  std::uint32_t read32(std::uint32_t offset) const;
  void write8(std::uint32_t offset, std::uint8_t value) const;
  void write16(std::uint32_t offset, std::uint16_t value) const;
  void write32(std::uint32_t offset, std::uint32_t value) const;

  /// Offset of the first capability `id` after `previous` (0: from the start), or 0.
  std::uint8_t find_capability(std::uint8_t id, std::uint8_t previous) const;

  /// Address of memory BAR `index`, mapped; 0 if it is no memory BAR or not implemented. Gives it
  /// a place in the window (cmdline pci_window=, 0xe0000000) when firmware gave it none.
  std::uint64_t bar_address(unsigned index) const;

  /// Puts memory BAR `index` at `address`; decoding should be off.
  void set_bar(unsigned index, std::uint64_t address) const;
};

/// Calls `visit(function, context)` for every function on bus 0 until it returns true.
bool pci_scan(bool (*visit)(PciFunction, void*), void* context);

/// `bytes` (a power of two) of the window for BARs.
std::uint64_t pci_window_take(std::uint64_t bytes);

}  // namespace bellhop::guest
