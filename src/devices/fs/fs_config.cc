#include "devices/fs/fs_config.h"

#include <fmt/format.h>

#include <cerrno>

#include "devices/fs/fs_device.h"
#include "memory/guest_memory.h"

namespace bellhop {

Result<std::unique_ptr<VirtioDevice>> make_device(const FsConfig& config, const DeviceHost& host) {
  if (!host.memory->shared()) {
    return fail("--fs: the guest's memory is not shared (--memory SIZE,shared)", EINVAL);
  }
  auto device =
      FsDevice::create(config, [path = config.socket](vhost_user::Channel::Patience patience) {
        return vhost_user::Channel::connect(path, patience);
      });
  if (!device) {
    return fail(fmt::format("--fs: socket={}: {}", config.socket, device.error().message),
                device.error().code);
  }
  return std::move(*device);
}

}  // namespace bellhop
