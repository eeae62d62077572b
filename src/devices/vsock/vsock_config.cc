#include "devices/vsock/vsock_config.h"

#include "devices/vsock/vhost_vsock_device.h"
#include "devices/vsock/vsock_device.h"

namespace bellhop {

Result<std::unique_ptr<VirtioDevice>> make_device(const VsockConfig& config, const DeviceHost&) {
  if (config.vhost != VsockVhost::kOff) return make_vhost_vsock_device(config.id, config.cid);
  auto socket = VsockSocket::listen(config.uds);
  if (!socket) return forward(socket);
  return std::make_unique<VsockDevice>(std::move(*socket),
                                       VsockOptions{.id = config.id, .cid = config.cid});
}

}  // namespace bellhop
