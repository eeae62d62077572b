#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>

#include "bus/io_event_match.h"
#include "transport/pci/config_space.h"
#include "virtio/abi/pci.h"

namespace bellhop {

/// What a function says it is.
struct PciIdentity {
  std::uint16_t vendor = 0;
  std::uint16_t device = 0;
  std::uint8_t revision = 0;
  std::uint32_t class_code = 0;  ///< base class, subclass, interface: 24 bits
  std::uint16_t subsystem_vendor = 0;
  std::uint16_t subsystem = 0;
};

/// One PCI function: configuration space behind a lock, the command register, and at most one BAR
/// for memory, a 64-bit one, and one for ports. The host bridge is one as it stands; devices derive
/// from it.
class PciFunction {
 public:
  explicit PciFunction(const PciIdentity& identity);
  virtual ~PciFunction() = default;
  PciFunction(const PciFunction&) = delete;
  PciFunction& operator=(const PciFunction&) = delete;

  /// Accesses of configuration space by the guest: any offset below 4096, any width. Any thread.
  void read_config(std::uint32_t offset, std::span<std::byte> data) noexcept;
  void write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept;

  /// Size of the BAR in bytes, a power of two; 0 if the function has none there.
  [[nodiscard]] std::uint64_t bar_bytes(IoSpace space) const noexcept { return bar(space).bytes; }
  /// Where the BAR lies after power-on, since no firmware assigns it. Decoding stays off until the
  /// guest turns it on. Before the guest finds the function.
  void assign_bar(IoSpace space, std::uint64_t address) noexcept;
  /// Where the first address behind the BAR is, if it lies in `bytes` from `address`: where it was
  /// assigned, or where the guest has put it. Any thread.
  [[nodiscard]] std::optional<std::uint64_t> bar_end_within(IoSpace space, std::uint64_t address,
                                                            std::uint64_t bytes) noexcept;

  /// Back to the state after power-on. While no vCPU runs.
  void reset() noexcept;

 protected:
  /// Before the function is in use. `index` is the BAR's number; a memory BAR takes the next as
  /// well.
  void add_bar(IoSpace space, unsigned index, std::uint64_t bytes) noexcept;
  [[nodiscard]] PciConfigSpace& config() noexcept { return config_; }

  // Called with the function's lock held.

  /// The BAR answers at `address` from now on, or nowhere.
  virtual void bar_moved([[maybe_unused]] IoSpace space,
                         [[maybe_unused]] std::optional<std::uint64_t> address) noexcept {}
  virtual void bus_master_changed([[maybe_unused]] bool on) noexcept {}
  virtual void before_config_read([[maybe_unused]] std::uint32_t offset,
                                  [[maybe_unused]] std::size_t bytes) noexcept {}
  virtual void after_config_write([[maybe_unused]] std::uint32_t offset,
                                  [[maybe_unused]] std::size_t bytes) noexcept {}
  virtual void was_reset() noexcept {}

 private:
  struct Bar {
    std::uint8_t offset = 0;  ///< in configuration space
    std::uint8_t width = 0;   ///< of the register, bytes
    std::uint64_t bytes = 0;
    std::uint64_t flags = 0;
    std::uint64_t assigned = 0;
    std::optional<std::uint64_t> decoded;
  };

  [[nodiscard]] Bar& bar(IoSpace space) noexcept { return bars_[static_cast<unsigned>(space)]; }
  [[nodiscard]] const Bar& bar(IoSpace space) const noexcept {
    return bars_[static_cast<unsigned>(space)];
  }
  void apply_command_and_bars() noexcept;

  std::mutex lock_;
  PciConfigSpace config_;
  std::uint16_t commands_ = virtio::kPciCommandBusMaster | virtio::kPciCommandIntxDisable;
  std::array<Bar, kIoSpaces.size()> bars_;
  bool bus_master_ = false;
};

}  // namespace bellhop
