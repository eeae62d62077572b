#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "devices/net/net_counters.h"
#include "devices/net/rx_filter.h"
#include "devices/net/vhost_user_nic.h"
#include "event/io_thread.h"
#include "vhost_user/process_served_device.h"

namespace bellhop {

class PairControl;
class UnusedQueue;

/// virtio-net (virtio 1.3, 5.1) whose pairs of queues another process serves. The configuration
/// space is ours: address, link, MTU. Offloads and mergeable buffers are offered as the back end
/// has them. With one pair there is no control queue, whether the back end would have one or not:
/// its commands are answered by front ends, and this one has no use for them. With several it is
/// served here, on a thread of its own, which may wait for the back end.
class VhostUserNetDevice final : public ProcessServedDevice {
 public:
  struct Options {
    std::string id = "net0";
    MacAddress mac = 0;
    std::uint16_t mtu = 0;  ///< told to the driver; 0: not told
    std::uint16_t queue_size = 256;
    std::uint16_t pairs = 1;
    /// Of RING_PACKED and IN_ORDER, what is offered where the back end has it.
    std::uint64_t more_ring_features = 0;
  };

  /// Errors: no connection, a back end that lacks something, no thread left.
  static Result<std::unique_ptr<VhostUserNetDevice>> create(const Options& options,
                                                            VhostUserFront::Connect connect,
                                                            Patience patience = Patience{5000});
  ~VhostUserNetDevice() override;

  void read_config(std::uint32_t offset, std::span<std::byte> data) noexcept override;
  void write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept override;
  [[nodiscard]] IoThread* own_thread(unsigned queue) noexcept override;
  [[nodiscard]] ServerChoice server(unsigned queue, std::uint64_t features) const noexcept override;
  Status offload(std::uint64_t features, std::span<OffloadedQueue* const> queues) override;
  Status activate(std::uint64_t features, std::span<QueueRunner* const> queues) override;
  void reset() noexcept override;
  [[nodiscard]] std::vector<DeviceStat> stats() const override;

  /// The first `count` pairs are used from now on, and no others. False: the driver may not say so,
  /// or the back end refuses. Waits for the back end.
  [[nodiscard]] bool use_pairs(unsigned count) noexcept;

 private:
  VhostUserNetDevice(const Options& options, std::unique_ptr<VhostUserFront> front);
  [[nodiscard]] unsigned control_index(std::uint64_t features) const noexcept;

  const MacAddress mac_;
  const std::uint16_t mtu_;
  const std::uint16_t pairs_;
  std::unique_ptr<IoThread> control_thread_;  ///< null with one pair
  bool several_ = false;                      ///< VIRTIO_NET_F_MQ, from activate() to reset()
  NetControlCounters control_counters_;
  std::unique_ptr<PairControl> control_;
  std::vector<std::unique_ptr<UnusedQueue>> unused_;
};

}  // namespace bellhop
