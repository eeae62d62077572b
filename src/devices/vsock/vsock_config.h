#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "devices/device_config.h"
#include "devices/device_option.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

/// Whether the kernel's vhost-vsock is to carry the connections.
enum class VsockVhost : std::uint8_t {
  kOff,    ///< Unix sockets, in user space
  kOn,     ///< the kernel: programs of the host use AF_VSOCK
  kForce,  ///< the same: there is nothing that it could fall back to
};

/// `--vsock cid=N,uds=PATH`
struct VsockConfig : DeviceConfig {
  std::uint32_t cid = 0;
  std::string uds;  ///< the Unix socket; made, and removed at the end
  VsockVhost vhost = VsockVhost::kOff;

  static const DeviceOption kOption;
  static Result<VsockConfig> parse(const PropertyList& properties);
  void add_needs(HostNeeds& needs) const;
  [[nodiscard]] unsigned offloaded_queues() const noexcept;
};

/// Errors: the socket cannot be made, or vhost-vsock cannot be had.
Result<std::unique_ptr<VirtioDevice>> make_device(const VsockConfig& config,
                                                  const DeviceHost& host);

}  // namespace bellhop
