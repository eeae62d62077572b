#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "devices/net/rx_filter.h"
#include "devices/net/vhost_user_nic.h"
#include "vhost_user/process_served_device.h"

namespace bellhop {

/// virtio-net (virtio 1.3, 5.1) whose one pair of queues another process serves. The configuration
/// space is ours: address, link, MTU. Offloads and mergeable buffers are offered as the back end
/// has them. There is no control queue, whether the back end would have one or not: its commands
/// are answered by front ends, and this one has no use for them with one pair.
class VhostUserNetDevice final : public ProcessServedDevice {
 public:
  struct Options {
    std::string id = "net0";
    MacAddress mac = 0;
    std::uint16_t mtu = 0;  ///< told to the driver; 0: not told
    std::uint16_t queue_size = 256;
  };

  /// Errors: no connection, or a back end that lacks something.
  static Result<std::unique_ptr<VhostUserNetDevice>> create(const Options& options,
                                                            VhostUserFront::Connect connect,
                                                            Patience patience = Patience{5000});

  void read_config(std::uint32_t offset, std::span<std::byte> data) noexcept override;
  void write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept override;

 private:
  VhostUserNetDevice(const Options& options, std::unique_ptr<VhostUserFront> front);

  const MacAddress mac_;
  const std::uint16_t mtu_;
};

}  // namespace bellhop
