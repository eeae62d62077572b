#include "devices/vsock/vsock_config.h"

#include <fmt/format.h>

#include "devices/vsock/vsock_device.h"

namespace bellhop {

Result<std::unique_ptr<VirtioDevice>> make_device(const VsockConfig& config) {
  if (config.vhost != VsockVhost::kOff) {
    return fail(
        fmt::format("--vsock: {}: this version has no vhost-vsock: vhost=off and uds=PATH give the "
                    "guest sockets",
                    config.id));
  }
  auto socket = VsockSocket::listen(config.uds);
  if (!socket) return forward(socket);
  return std::make_unique<VsockDevice>(std::move(*socket),
                                       VsockOptions{.id = config.id, .cid = config.cid});
}

}  // namespace bellhop
