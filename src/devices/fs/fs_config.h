#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "devices/device_config.h"
#include "devices/device_option.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

/// `--fs tag=NAME,socket=PATH`. virtiofsd serves the queues; the I/O thread looks whether it lives.
struct FsConfig : DeviceConfig {
  std::string tag;          ///< the guest mounts it by this; 1 to 36 bytes
  std::string socket;       ///< where virtiofsd listens
  unsigned num_queues = 1;  ///< for requests, besides the one of high priority
  std::uint16_t queue_size = 1024;

  static const DeviceOption kOption;
  static Result<FsConfig> parse(const PropertyList& properties);
  Status check_together(std::span<const FsConfig> others) const;
  void add_needs(HostNeeds& needs) const { needs.add(socket, HostUse::kConnects); }
  /// All queues.
  [[nodiscard]] unsigned offloaded_queues() const noexcept { return num_queues + 1; }
  [[nodiscard]] static constexpr bool shares_memory() noexcept { return true; }
};

/// Errors: memory that is not shared, no virtiofsd at the socket, or one that lacks something.
Result<std::unique_ptr<VirtioDevice>> make_device(const FsConfig& config, const DeviceHost& host);

}  // namespace bellhop
