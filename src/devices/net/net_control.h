#pragma once

#include "devices/net/control_queue.h"
#include "devices/net/net_device.h"

namespace bellhop {

/// The control queue of a NIC whose frames go through this process.
class NetControl final : public ControlQueue {
 public:
  NetControl(NetDevice& device, QueueRunner& runner) noexcept
      : ControlQueue(runner, device.control_counters_), device_(device) {}

  [[nodiscard]] bool execute(const BufferRun& request, std::size_t bytes) noexcept override;

 private:
  /// What a command brings, behind its header.
  class Data;

  [[nodiscard]] bool set_receive_mode(std::uint8_t command, const Data& data) noexcept;
  [[nodiscard]] bool set_addresses(std::uint8_t command, const Data& data) noexcept;
  [[nodiscard]] bool set_tables(const Data& data) noexcept;
  [[nodiscard]] bool set_vlan(std::uint8_t command, const Data& data) noexcept;

  NetDevice& device_;
};

}  // namespace bellhop
