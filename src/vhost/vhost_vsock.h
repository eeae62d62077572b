#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include "vhost/vhost_device.h"
#include "vhost/vhost_ring.h"

namespace bellhop {

/// The kernel's vhost-vsock: it serves the receive and the transmit queue of a vsock device, and
/// ties them to the host's AF_VSOCK sockets. Control path; any thread.
class VhostVsock final : private VhostRingOwner {
 public:
  static constexpr const char* kDevice = "/dev/vhost-vsock";
  static constexpr unsigned kRings = 2;
  using Open = std::function<Result<std::unique_ptr<VhostHandle>>()>;

  /// The guest's address is `cid` from now on, until this ends. Errors: the device is missing or
  /// may not be opened, the address is another guest's, or none for a guest.
  static Result<std::unique_ptr<VhostVsock>> create(std::uint64_t cid, const Open& open);
  static Result<std::unique_ptr<VhostVsock>> create(std::uint64_t cid);

  /// Device features that the kernel can offer (VIRTIO_VSOCK_F_*).
  [[nodiscard]] std::uint64_t features() const noexcept;
  /// What the driver acknowledged, before its rings are started.
  Status begin(std::uint64_t features);
  /// Whether the kernel serves both queues now.
  [[nodiscard]] bool running() const noexcept;
  /// Of queue 0 (receive) and 1 (transmit).
  [[nodiscard]] QueueBackEnd& ring(unsigned queue) noexcept { return *rings_[queue]; }

 private:
  VhostVsock() = default;
  Status ring_ready(unsigned ring) override;
  void ring_leaves(unsigned ring) noexcept override;
  Status run(bool on);

  std::unique_ptr<VhostDevice> device_;
  std::array<std::unique_ptr<VhostRing>, kRings> rings_;
  mutable std::mutex mutex_;
  std::array<bool, kRings> ready_{};
  bool running_ = false;
};

}  // namespace bellhop
