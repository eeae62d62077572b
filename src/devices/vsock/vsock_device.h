#pragma once

#include <memory>
#include <string>

#include "devices/vsock/vsock_counters.h"
#include "devices/vsock/vsock_listener.h"
#include "devices/vsock/vsock_muxer.h"
#include "devices/vsock/vsock_queues.h"
#include "devices/vsock/vsock_socket.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

struct VsockOptions {
  std::string id = "vsock0";
  std::uint32_t cid = 3;
  std::uint16_t queue_size = 256;
  std::chrono::nanoseconds tick = std::chrono::seconds(1);  ///< unit of everybody's patience
};

/// virtio-vsock (virtio 1.3, 5.10) over Unix sockets of the host, stream sockets only. All three
/// queues are to be on one I/O thread.
///
/// The host's programs connect to one path and say `CONNECT PORT`; the guest's connections to port
/// N of context 2 go to whoever listens on that path with "_N" behind it. While the guest has no
/// driver, those who connect wait.
class VsockDevice final : public VirtioDevice {
 public:
  VsockDevice(std::unique_ptr<VsockSocket> socket, VsockOptions options);
  ~VsockDevice() override;

  [[nodiscard]] const DeviceTraits& traits() const noexcept override { return traits_; }
  void read_config(std::uint32_t offset, std::span<std::byte> data) noexcept override;
  void write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept override;
  Status activate(std::uint64_t features, std::span<QueueRunner* const> queues) override;
  void reset() noexcept override;
  Status sharing_changed(unsigned queue, QueueRunner& runner) override;
  [[nodiscard]] std::vector<DeviceStat> stats() const override;

  [[nodiscard]] const VsockCounters& counters() const noexcept { return counters_; }

  /// Ends all connections and tells the driver (5.10.6.7), which reads its CID again and ends its
  /// side of them: as after a move to another host. Nothing happens without a driver. From the
  /// thread that owns the device's life.
  void transport_reset() noexcept;

 private:
  std::unique_ptr<VsockSocket> socket_;
  VsockOptions options_;
  DeviceTraits traits_;
  VsockCounters counters_;  ///< what was counted survives a reset

  // Between activate() and reset().
  IoThread* thread_ = nullptr;
  std::unique_ptr<VsockMuxer> board_;
  std::unique_ptr<VsockListener> door_;
  std::unique_ptr<VsockRx> rx_;
  std::unique_ptr<VsockTx> tx_;
  std::unique_ptr<VsockEvents> events_;
};

}  // namespace bellhop
