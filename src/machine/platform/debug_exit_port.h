#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "bus/bus.h"

namespace bellhop {

/// Two 32-bit ports by which a guest made for measuring tells its end (the place and width of
/// QEMU's isa-debug-exit) and marks moments of a measurement. They read 0. Any vCPU thread.
class DebugExitPort final : public BusDevice {
 public:
  /// Bytes of both; offset of the second.
  static constexpr std::uint64_t kPorts = 8;
  static constexpr std::uint64_t kMarkerOffset = 4;

  /// Called on the vCPU thread with the value written.
  using Callback = std::function<void(std::uint32_t)>;

  DebugExitPort(Callback exit, Callback marker);

  void read(std::uint64_t offset, std::span<std::byte> data) noexcept override;
  void write(std::uint64_t offset, std::span<const std::byte> data) noexcept override;

 private:
  Callback exit_;
  Callback marker_;
};

}  // namespace bellhop
