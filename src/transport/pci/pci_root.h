#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <span>

#include "base/result.h"
#include "bus/bus.h"
#include "transport/pci/pci_function.h"

namespace bellhop {

/// PCI bus 0 with its host bridge at 00:00.0. Reaches the functions' configuration by ports 0xcf8
/// and 0xcfc (configuration mechanism 1, PCI 3.0, 3.2.2.3.2) and by an ECAM window (PCI
/// Express 5.0, 7.2.2). Function 0 of each device only.
///
/// Functions come and go on one thread, the main one; accesses come from any. A function is taken
/// away while no vCPU runs.
class PciRoot {
 public:
  /// Port 0xcf8, and the eight ports that ports() answers at.
  static constexpr std::uint64_t kPortBase = 0xcf8;
  static constexpr std::uint64_t kPortCount = 8;
  /// Bytes of the ECAM window: bus 0.
  static constexpr std::uint64_t kEcamBytes = std::uint64_t{1} << 20;

  /// Addresses, or ports, from which BARs are assigned.
  struct Window {
    std::uint64_t base = 0;
    std::uint64_t bytes = 0;
  };

  PciRoot(Window memory, Window ports);

  static constexpr unsigned kDevices = 32;

  /// Gives the function the lowest free device number and its BARs an address. Returns the number.
  /// Errors: all 31 are taken, or a window is full.
  Result<unsigned> add(PciFunction& function);
  /// The number that the next function gets. Errors: all are taken (code ENOSPC).
  [[nodiscard]] Result<unsigned> next_number() const;
  /// Nobody answers at this number any more.
  void remove(unsigned number) noexcept;

  /// Who answers byte accesses at port 0xcf9, which a PC's reset control register shares with the
  /// address's bytes. Before the vCPUs run; outlives them.
  void set_reset_control(BusDevice& device) noexcept { ports_.set_reset_control(device); }

  /// For the PIO bus at kPortBase, and for the MMIO bus at any multiple of kEcamBytes.
  [[nodiscard]] BusDevice& ports() noexcept { return ports_; }
  [[nodiscard]] BusDevice& ecam() noexcept { return ecam_; }

  /// All functions back to the state after power-on. While no vCPU runs.
  void reset() noexcept;

 private:
  class Ports final : public BusDevice {
   public:
    explicit Ports(PciRoot& root) noexcept : root_(&root) {}
    void read(std::uint64_t offset, std::span<std::byte> data) noexcept override;
    void write(std::uint64_t offset, std::span<const std::byte> data) noexcept override;
    void set_reset_control(BusDevice& device) noexcept { reset_control_ = &device; }
    void reset() noexcept { address_.store(0, std::memory_order_relaxed); }

   private:
    struct Target {
      PciFunction* function;
      std::uint32_t offset;
    };
    [[nodiscard]] std::optional<Target> target(std::uint64_t port_offset,
                                               std::size_t bytes) const noexcept;
    [[nodiscard]] bool is_reset_control(std::uint64_t port_offset,
                                        std::size_t bytes) const noexcept;
    PciRoot* root_;
    BusDevice* reset_control_ = nullptr;
    std::atomic<std::uint32_t> address_{0};
  };
  class Ecam final : public BusDevice {
   public:
    explicit Ecam(PciRoot& root) noexcept : root_(&root) {}
    void read(std::uint64_t offset, std::span<std::byte> data) noexcept override;
    void write(std::uint64_t offset, std::span<const std::byte> data) noexcept override;

   private:
    [[nodiscard]] PciFunction* target(std::uint64_t offset, std::size_t bytes) const noexcept;
    PciRoot* root_;
  };

  [[nodiscard]] PciFunction* find(unsigned bus, unsigned device, unsigned function) const noexcept;

  Status assign(PciFunction& function, IoSpace space);
  [[nodiscard]] std::optional<std::uint64_t> taken_until(IoSpace space, std::uint64_t address,
                                                         std::uint64_t bytes) const noexcept;

  PciFunction host_bridge_;
  std::array<std::atomic<PciFunction*>, kDevices> functions_{};
  std::array<Window, kIoSpaces.size()> windows_;
  Ports ports_{*this};
  Ecam ecam_{*this};
};

}  // namespace bellhop
