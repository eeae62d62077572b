#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>

#include "transport/pci/config_space.h"

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

/// One PCI function: configuration space behind a lock, the command register, and at most one BAR,
/// a 64-bit one for memory. The host bridge is one as it stands; devices derive from it.
class PciFunction {
 public:
  explicit PciFunction(const PciIdentity& identity);
  virtual ~PciFunction() = default;
  PciFunction(const PciFunction&) = delete;
  PciFunction& operator=(const PciFunction&) = delete;

  /// Accesses of configuration space by the guest: any offset below 4096, any width. Any thread.
  void read_config(std::uint32_t offset, std::span<std::byte> data) noexcept;
  void write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept;

  /// Size of the BAR in bytes, a power of two; 0 if the function has none.
  [[nodiscard]] std::uint64_t bar_bytes() const noexcept { return bar_bytes_; }
  /// Where the BAR lies after power-on, since no firmware assigns it. Decoding stays off until the
  /// guest turns it on. Before the machine runs.
  void assign_bar(std::uint64_t address) noexcept;

  /// Back to the state after power-on. While no vCPU runs.
  void reset() noexcept;

 protected:
  /// Before the function is in use.
  void add_memory_bar(std::uint64_t bytes) noexcept;
  [[nodiscard]] PciConfigSpace& config() noexcept { return config_; }

  // Called with the function's lock held.

  /// The BAR answers at `address` from now on, or nowhere.
  virtual void bar_moved([[maybe_unused]] std::optional<std::uint64_t> address) noexcept {}
  virtual void bus_master_changed([[maybe_unused]] bool on) noexcept {}
  virtual void before_config_read([[maybe_unused]] std::uint32_t offset,
                                  [[maybe_unused]] std::size_t bytes) noexcept {}
  virtual void after_config_write([[maybe_unused]] std::uint32_t offset,
                                  [[maybe_unused]] std::size_t bytes) noexcept {}
  virtual void was_reset() noexcept {}

 private:
  void apply_command_and_bar() noexcept;

  std::mutex lock_;
  PciConfigSpace config_;
  std::uint64_t bar_bytes_ = 0;
  std::uint64_t assigned_ = 0;
  std::optional<std::uint64_t> decoded_;
  bool bus_master_ = false;
};

}  // namespace bellhop
