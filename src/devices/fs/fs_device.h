#pragma once

#include <memory>

#include "base/result.h"
#include "devices/fs/fs_config.h"
#include "vhost_user/process_served_device.h"
#include "virtio/abi/fs.h"

namespace bellhop {

/// virtio-fs (virtio 1.3, 5.11): a folder of the host's, served by virtiofsd over vhost-user. All
/// queues are its; the configuration space is ours.
class FsDevice final : public ProcessServedDevice {
 public:
  /// Errors: no connection, or a back end that lacks something.
  static Result<std::unique_ptr<FsDevice>> create(const FsConfig& config,
                                                  VhostUserFront::Connect connect,
                                                  Patience patience = Patience{5000});

  void read_config(std::uint32_t offset, std::span<std::byte> data) noexcept override;
  void write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept override;

 private:
  FsDevice(const FsConfig& config, std::unique_ptr<VhostUserFront> front);

  virtio::FsConfigSpace space_{};
};

}  // namespace bellhop
