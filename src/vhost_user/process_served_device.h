#pragma once

#include <memory>
#include <string>
#include <vector>

#include "memory/guest_memory.h"
#include "vhost_user/vhost_user_front.h"
#include "virtio/abi/ring.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

/// A virtio device whose queues another process serves over vhost-user: all, but for those that a
/// kind keeps for itself. What kind of device it is, and whose its configuration space is, the
/// kinds say.
class ProcessServedDevice : public VirtioDevice {
 public:
  using Patience = vhost_user::Channel::Patience;

  [[nodiscard]] const DeviceTraits& traits() const noexcept final { return traits_; }
  [[nodiscard]] ServerChoice server(unsigned queue, std::uint64_t features) const noexcept override;
  Status offload(std::uint64_t features, std::span<OffloadedQueue* const> queues) override;
  Status activate(std::uint64_t features, std::span<QueueRunner* const> queues) override;
  void reset() noexcept override;
  [[nodiscard]] std::vector<DeviceStat> stats() const override;

 protected:
  /// Of rings, what may be offered beside virtio::kRingFeatures where a back end has it.
  static constexpr std::uint64_t kMoreRingFeatures =
      virtio::feature_mask(virtio::kFeatureRingPacked) |
      virtio::feature_mask(virtio::kFeatureInOrder);

  /// `front` has as many queues as `traits`, less those that are kept, and its features are added
  /// to those of `traits`, which are the device's own to offer.
  ProcessServedDevice(std::unique_ptr<VhostUserFront> front, DeviceTraits traits);

  [[nodiscard]] VhostUserFront& front() noexcept { return *front_; }
  [[nodiscard]] const VhostUserFront& front() const noexcept { return *front_; }

 private:
  std::unique_ptr<VhostUserFront> front_;
  DeviceTraits traits_;
};

/// How a device comes to its back end, again and again: at the socket `path`, also from a thread
/// that may make no sockets. `option` is whose connection it is: "--fs".
VhostUserFront::Connect connector_to(std::string option, std::string path);

/// Errors: of these features of rings the device's back end does not offer all.
Status check_rings(const ProcessServedDevice& device, std::uint64_t asked);

/// Errors: another process cannot map the guest's memory.
Status check_shared(const GuestMemory& memory, const std::string& option);

}  // namespace bellhop
