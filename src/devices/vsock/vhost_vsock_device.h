#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "vhost/vhost_vsock.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

/// virtio-vsock (virtio 1.3, 5.10) over the kernel's vhost-vsock: programs of the host reach the
/// guest by AF_VSOCK sockets, and are reached by them. The kernel serves the receive and the
/// transmit queue; the event queue is ours, and stays silent, since the guest's address never
/// changes while it runs.
class VhostVsockDevice final : public VirtioDevice {
 public:
  VhostVsockDevice(std::string id, std::uint64_t cid, std::unique_ptr<VhostVsock> kernel);
  ~VhostVsockDevice() override;

  [[nodiscard]] const DeviceTraits& traits() const noexcept override { return traits_; }
  void read_config(std::uint32_t offset, std::span<std::byte> data) noexcept override;
  void write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept override;
  [[nodiscard]] ServerChoice server(unsigned queue, std::uint64_t features) const noexcept override;
  Status offload(std::uint64_t features, std::span<OffloadedQueue* const> queues) override;
  Status activate(std::uint64_t features, std::span<QueueRunner* const> queues) override;
  void reset() noexcept override;
  [[nodiscard]] std::vector<DeviceStat> stats() const override;

 private:
  class EventQueue;

  std::uint64_t cid_;
  std::unique_ptr<VhostVsock> kernel_;
  DeviceTraits traits_;
  std::unique_ptr<EventQueue> events_;
};

/// `--vsock cid=N,vhost=on`. Errors: /dev/vhost-vsock is missing or may not be opened; the address
/// is another guest's, or none for a guest (3 to 2^32-2).
Result<std::unique_ptr<VirtioDevice>> make_vhost_vsock_device(const std::string& id,
                                                              std::uint64_t cid);

}  // namespace bellhop
