#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "bus/bus.h"

namespace bellhop {

/// The chipset's reset control register (Intel ICH, RST_CNT): a write with kResetCpu resets the
/// machine, whatever kind of reset the other bits ask for. Bytes only: wider accesses there are the
/// PCI configuration address's. Any vCPU thread.
class ResetControl final : public BusDevice {
 public:
  static constexpr std::uint64_t kPorts = 1;
  static constexpr std::uint8_t kSystemReset = 0x02;
  static constexpr std::uint8_t kResetCpu = 0x04;
  static constexpr std::uint8_t kFullReset = 0x08;

  /// `reset` is called on the vCPU thread that asked for it.
  explicit ResetControl(std::function<void()> reset);

  void read(std::uint64_t offset, std::span<std::byte> data) noexcept override;
  void write(std::uint64_t offset, std::span<const std::byte> data) noexcept override;
  /// Back to the state after power-on.
  void reset() noexcept { value_.store(0, std::memory_order_relaxed); }

 private:
  std::function<void()> reset_;
  std::atomic<std::uint8_t> value_{0};
};

}  // namespace bellhop
