#include "devices/fs/fs_config.h"

#include <fmt/format.h>

#include <cerrno>
#include <optional>

#include "base/connecting.h"
#include "devices/fs/fs_device.h"
#include "memory/guest_memory.h"

namespace bellhop {

namespace {

/// Of a vCPU, too, whose driver wants the back end again.
Result<vhost_user::Channel> connect(const std::string& path,
                                    vhost_user::Channel::Patience patience) {
  std::optional<Result<vhost_user::Channel>> made;
  const auto ran =
      run_connecting("--fs", [&] { made = vhost_user::Channel::connect(path, patience); });
  if (!ran) return forward(ran);
  return std::move(*made);
}

}  // namespace

Result<std::unique_ptr<VirtioDevice>> make_device(const FsConfig& config, const DeviceHost& host) {
  if (!host.memory->shared()) {
    return fail("--fs: the guest's memory is not shared (--memory SIZE,shared)", EINVAL);
  }
  auto device =
      FsDevice::create(config, [path = config.socket](vhost_user::Channel::Patience patience) {
        return connect(path, patience);
      });
  if (!device) {
    return fail(fmt::format("--fs: socket={}: {}", config.socket, device.error().message),
                device.error().code);
  }
  return std::move(*device);
}

}  // namespace bellhop
