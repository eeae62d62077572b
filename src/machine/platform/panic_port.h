#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "bus/bus.h"

namespace bellhop {

/// pvpanic as an ISA device (QEMU, docs/specs/pvpanic): reading tells which events the guest may
/// report, writing reports them. Any vCPU thread.
class PanicPort final : public BusDevice {
 public:
  static constexpr std::uint64_t kPorts = 1;

  /// `panicked` is called on the vCPU thread whose kernel did.
  explicit PanicPort(std::function<void()> panicked);

  void read(std::uint64_t offset, std::span<std::byte> data) noexcept override;
  void write(std::uint64_t offset, std::span<const std::byte> data) noexcept override;

 private:
  std::function<void()> panicked_;
};

}  // namespace bellhop
