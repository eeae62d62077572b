#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "bus/bus.h"

namespace bellhop {

/// What is left of the keyboard controller: its command port, by which PCs are reset. There is no
/// keyboard; the status says "output full, input empty", so that a reset need not wait and a driver
/// that looks for a keyboard soon gives up. Any vCPU thread.
class ResetPort final : public BusDevice {
 public:
  static constexpr std::uint64_t kPorts = 1;
  /// Written to it: the pulse on the reset line.
  static constexpr std::uint8_t kPulse = 0xfe;

  /// `reset` is called on the vCPU thread that asked for it.
  explicit ResetPort(std::function<void()> reset);

  void read(std::uint64_t offset, std::span<std::byte> data) noexcept override;
  void write(std::uint64_t offset, std::span<const std::byte> data) noexcept override;

 private:
  std::function<void()> reset_;
};

}  // namespace bellhop
