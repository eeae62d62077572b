#pragma once

#include "devices/net/net_device.h"

namespace bellhop {

/// The control queue (virtio 1.3, 5.1.6.5): a command at a time, answered at once.
class NetControl final : public QueueHandler {
 public:
  NetControl(NetDevice& device, QueueRunner& runner) noexcept : device_(device), runner_(runner) {}

  void drain() noexcept override;
  void submit() noexcept override {}
  std::uint32_t malformed(DescriptorChain& chain) noexcept override;

  /// Carries out the command in the first `bytes` of `request`, all of them: false if it is
  /// unknown, malformed, out of range or was not negotiated. Then nothing has changed.
  [[nodiscard]] bool execute(const BufferRun& request, std::size_t bytes) noexcept;

 private:
  /// What a command brings, behind its header.
  class Data;

  [[nodiscard]] bool set_receive_mode(std::uint8_t command, const Data& data) noexcept;
  [[nodiscard]] bool set_addresses(std::uint8_t command, const Data& data) noexcept;
  [[nodiscard]] bool set_tables(const Data& data) noexcept;
  [[nodiscard]] bool set_vlan(std::uint8_t command, const Data& data) noexcept;

  NetDevice& device_;
  QueueRunner& runner_;
  DescriptorChain chain_;
};

}  // namespace bellhop
