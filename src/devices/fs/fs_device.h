#pragma once

#include <memory>
#include <vector>

#include "base/result.h"
#include "devices/fs/fs_config.h"
#include "vhost_user/vhost_user_front.h"
#include "virtio/abi/fs.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

/// virtio-fs (virtio 1.3, 5.11): a folder of the host's, served by virtiofsd over vhost-user. All
/// queues are its; the configuration space is ours.
class FsDevice final : public VirtioDevice {
 public:
  using Patience = vhost_user::Channel::Patience;

  /// Errors: no connection, or a back end that lacks something.
  static Result<std::unique_ptr<FsDevice>> create(const FsConfig& config,
                                                  VhostUserFront::Connect connect,
                                                  Patience patience = Patience{5000});

  [[nodiscard]] const DeviceTraits& traits() const noexcept override { return traits_; }
  void read_config(std::uint32_t offset, std::span<std::byte> data) noexcept override;
  void write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept override;
  [[nodiscard]] ServerChoice server(unsigned queue, std::uint64_t features) const noexcept override;
  Status offload(std::uint64_t features, std::span<OffloadedQueue* const> queues) override;
  Status activate(std::uint64_t features, std::span<QueueRunner* const> queues) override;
  void reset() noexcept override;
  [[nodiscard]] std::vector<DeviceStat> stats() const override;

 private:
  FsDevice(const FsConfig& config, std::unique_ptr<VhostUserFront> front);

  std::unique_ptr<VhostUserFront> front_;
  virtio::FsConfigSpace space_{};
  DeviceTraits traits_;
};

}  // namespace bellhop
