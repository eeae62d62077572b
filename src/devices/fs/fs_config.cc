#include "devices/fs/fs_config.h"

#include <fmt/format.h>

#include "devices/fs/fs_device.h"

namespace bellhop {

Result<std::unique_ptr<VirtioDevice>> make_device(const FsConfig& config, const DeviceHost& host) {
  if (auto shared = check_shared(*host.memory, "--fs"); !shared) return forward(shared);
  auto device = FsDevice::create(config, connector_to("--fs", config.socket));
  if (!device) {
    return fail(fmt::format("--fs: socket={}: {}", config.socket, device.error().message),
                device.error().code);
  }
  return std::move(*device);
}

}  // namespace bellhop
