#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>

#include "bus/bus.h"

namespace bellhop {

/// Devices of PCI bus 0 that come and go while the guest runs, as pci.asl tells its ACPI. One bit
/// for each device number: which have come, which it is to let go (each bit is read once), and
/// which it lets go (written). Registers from any vCPU thread, the rest from any thread.
class PciHotplug final : public BusDevice {
 public:
  static constexpr std::uint64_t kPorts = 12;
  // 4 bytes each; other widths reach nothing.
  static constexpr std::uint64_t kUpOffset = 0;
  static constexpr std::uint64_t kDownOffset = 4;
  static constexpr std::uint64_t kEjectOffset = 8;
  /// The general-purpose event whose method reads the registers.
  static constexpr unsigned kGpe = 1;

  /// `changed`: the guest has something to read; on any thread. `let_go`: the guest has let go a
  /// device that it was asked for, see take_let_go(); on its vCPU's thread.
  PciHotplug(std::function<void()> changed, std::function<void()> let_go);

  void read(std::uint64_t offset, std::span<std::byte> data) noexcept override;
  void write(std::uint64_t offset, std::span<const std::byte> data) noexcept override;

  void has_come(unsigned number) noexcept;
  /// The guest decides whether and when it lets it go. May be called again.
  void ask_for(unsigned number) noexcept;
  /// Which have been let go since the last call.
  std::uint32_t take_let_go() noexcept;
  /// The device has gone: nothing is known of its number.
  void forget(unsigned number) noexcept;
  /// Back to the state after power-on. What was asked for is let go: a guest that starts anew has
  /// it not in use yet.
  void reset() noexcept;

 private:
  std::function<void()> changed_;
  std::function<void()> on_let_go_;
  std::mutex lock_;
  std::uint32_t up_ = 0;
  std::uint32_t down_ = 0;
  std::uint32_t asked_ = 0;
  std::uint32_t let_go_ = 0;
};

}  // namespace bellhop
