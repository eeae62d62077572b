#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log_limiter.h"
#include "base/throttle.h"
#include "devices/net/net_counters.h"
#include "devices/net/rx_filter.h"
#include "net/net_backend.h"
#include "vhost/vhost_net.h"
#include "virtio/abi/net.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

struct NetOptions {
  std::string id = "net0";
  MacAddress mac = 0;
  std::uint16_t mtu = 0;  ///< told to the driver; 0: not told
  std::uint16_t queue_size = 256;
  bool join_frames = true;  ///< what goes together leaves as one: see FrameTrain
  /// Where the kernel can carry frames: whether the device does without it.
  bool kernel_required = false;
  Rates rates = {};           ///< each way
  Throttle* group = nullptr;  ///< kept to in the place of `rates`, both ways together; outlives it
};

/// All counters of a NIC, summed over its queues.
struct NetTotals {
  std::uint64_t rx_frames = 0;
  std::uint64_t rx_bytes = 0;
  std::uint64_t rx_starved = 0;
  std::uint64_t rx_dropped_filter = 0;
  std::uint64_t rx_dropped_link_down = 0;
  std::uint64_t rx_dropped_no_room = 0;
  std::uint64_t rx_dropped_error = 0;
  std::uint64_t tx_frames = 0;
  std::uint64_t tx_bytes = 0;
  std::uint64_t tx_joined = 0;
  std::uint64_t tx_blocked = 0;
  std::uint64_t tx_dropped_link_down = 0;
  std::uint64_t tx_dropped_error = 0;
  std::uint64_t control_commands = 0;
  std::uint64_t guest_faults = 0;  ///< of all queues
};

class LinkWatch;
class NetControl;
class NetRx;
class NetTx;
class UnusedQueue;

/// virtio-net (virtio 1.3, 5.1): a NIC over a back end, a receive and a transmit queue for each of
/// its pairs, and a control queue.
class NetDevice final : public VirtioDevice, public RateLimited {
 public:
  /// Frames of a queue before the other queues of its thread get their turn.
  static constexpr unsigned kFramesInOneTurn = 64;

  /// Pairs as many as the back end has. `kernel`, made for the same pairs, serves their queues in
  /// our place; the control queue stays ours.
  NetDevice(std::shared_ptr<NetBackend> backend, NetOptions options,
            std::unique_ptr<VhostNet> kernel = nullptr);
  ~NetDevice() override;

  [[nodiscard]] const DeviceTraits& traits() const noexcept override { return traits_; }
  void read_config(std::uint32_t offset, std::span<std::byte> data) noexcept override;
  void write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept override;
  [[nodiscard]] ServerChoice server(unsigned queue, std::uint64_t features) const noexcept override;
  Status offload(std::uint64_t features, std::span<OffloadedQueue* const> queues) override;
  Status activate(std::uint64_t features, std::span<QueueRunner* const> queues) override;
  void reset() noexcept override;
  /// A front end that answers commands itself enables the queues of the pairs that are in use.
  Status use_queues(unsigned count) override;
  [[nodiscard]] std::vector<DeviceStat> stats() const override;

  /// Of each way. Those of queues that the kernel serves are not ours to keep.
  void set_rates(const Rates& rates) noexcept override {
    rx_throttle_.change(rates);
    tx_throttle_.change(rates);
  }
  [[nodiscard]] NetTotals totals() const noexcept;

  /// Plugs the cable in or pulls it out: without it, frames of both directions are dropped and
  /// counted. The driver is told. Any thread.
  void set_link(bool up) noexcept;
  [[nodiscard]] bool link_up() const noexcept { return link_up_.load(std::memory_order_relaxed); }
  /// Asks the driver to make itself known on the network, as after a move to another host. Nothing
  /// happens if the driver cannot (5.1.6.5.4). Any thread.
  void announce() noexcept;

 private:
  friend class LinkWatch;
  friend class NetControl;
  friend class NetRx;
  friend class NetTx;

  [[nodiscard]] bool negotiated(unsigned feature) const noexcept {
    return (features_ >> feature & 1) != 0;
  }
  [[nodiscard]] bool in_use(unsigned pair) const noexcept {
    return pair < pairs_in_use_.load(std::memory_order_acquire);
  }
  /// Whether the back end takes trains of datagrams, of both IP versions.
  [[nodiscard]] bool joins_frames() const noexcept;
  Status activate_queues(std::span<QueueRunner* const> queues);
  Status watch_link(std::span<QueueRunner* const> queues);
  /// The host's end of the wire may have changed. False: it is gone for good. I/O thread.
  bool look_at_link(IoThread& thread) noexcept;
  /// Tells the driver whether there is a link, at both ends.
  void show_link() noexcept;
  void set_status_bits(std::uint16_t set, std::uint16_t clear) noexcept;
  /// The interface under a pair cannot be used any more; said once. I/O or vCPU thread.
  void backend_gone(IoThread& thread, int error) noexcept;

  // For the control queue. False: refused.
  [[nodiscard]] bool use_pairs(unsigned count) noexcept;
  Status move_pairs(unsigned from, unsigned to);
  [[nodiscard]] bool set_guest_offloads(std::uint64_t features) noexcept;
  void announced() noexcept { set_status_bits(0, virtio::kNetStatusAnnounce); }

  std::shared_ptr<NetBackend> backend_;
  std::unique_ptr<VhostNet> kernel_;  ///< null: frames go through this process
  NetOptions options_;
  DeviceTraits traits_;

  // Fixed between activate() and reset().
  std::atomic<std::uint64_t> features_{0};  ///< announce() may look at any time
  Offloads to_host_;

  RxFilter filter_;
  std::atomic<bool> link_up_{true};
  std::atomic<bool> host_up_{true};  ///< the other end, the host's
  std::atomic<std::uint16_t> status_{virtio::kNetStatusLinkUp};
  std::atomic<unsigned> pairs_in_use_{1};
  std::atomic<unsigned> to_guest_{0};  ///< bits of Offloads
  std::atomic<bool> gone_{false};
  log::Limiter log_;

  // Live as long as the device: what was counted survives a reset.
  std::vector<NetRxCounters> rx_counters_;
  std::vector<NetTxCounters> tx_counters_;
  /// What one way keeps to, whose own throttle counts its waits.
  [[nodiscard]] Throttle& limit_of(Throttle& own) const noexcept {
    return options_.group != nullptr ? *options_.group : own;
  }

  Throttle rx_throttle_;
  Throttle tx_throttle_;
  NetControlCounters control_counters_;

  std::vector<std::unique_ptr<NetRx>> rx_;
  std::vector<std::unique_ptr<NetTx>> tx_;
  std::unique_ptr<NetControl> control_;
  std::vector<std::unique_ptr<UnusedQueue>> unused_;
  std::unique_ptr<LinkWatch> link_watch_;
  IoThread* link_thread_ = nullptr;  ///< of a queue that the kernel serves
};

}  // namespace bellhop
