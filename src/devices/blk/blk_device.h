#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/relaxed_counter.h"
#include "base/resizable.h"
#include "base/shared_counter.h"
#include "base/throttle.h"
#include "block/block_backend.h"
#include "virtio/abi/blk.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

/// What went wrong at a disk, for people. Guest faults are answered with a status and counted. All
/// of a disk's queues write them, each on its own thread.
struct BlkCounters {
  SharedCounter guest_faults;  ///< requests that were malformed or out of range
  SharedCounter io_errors;     ///< requests that the host failed
};

/// What the requests of one queue did that succeeded. Its thread counts, on a cache line of its
/// own.
struct alignas(64) BlkTraffic {
  RelaxedCounter read_ops;
  RelaxedCounter read_bytes;
  RelaxedCounter write_ops;
  RelaxedCounter write_bytes;
  RelaxedCounter flush_ops;  ///< as the driver asked for; without those of writing through
};

struct BlkOptions {
  std::string id = "disk0";  ///< GET_ID answers its first 20 bytes
  std::uint16_t queues = 1;
  std::uint16_t queue_size = 256;
  /// Write cache on: writes are durable after a flush. Off: each write is flushed before it is
  /// answered.
  bool writeback = true;
  /// Whether the driver may switch it (VIRTIO_BLK_F_CONFIG_WCE). Absent: yes, but not behind a
  /// vhost-user front end, whose driver outlives this process and would not be told that the next
  /// one caches again.
  std::optional<bool> config_wce = {};
  Rates rates = {};
  Throttle* group = nullptr;  ///< kept to in the place of `rates`; outlives the device
};

class BlkQueue;

/// virtio-blk (virtio 1.3, 5.2): one disk over a block back end, one stream of requests for each
/// queue.
class BlkDevice final : public VirtioDevice, public Resizable, public RateLimited {
 public:
  BlkDevice(std::shared_ptr<BlockBackend> backend, BlkOptions options);
  ~BlkDevice() override;

  [[nodiscard]] const DeviceTraits& traits() const noexcept override { return traits_; }
  void read_config(std::uint32_t offset, std::span<std::byte> data) noexcept override;
  void write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept override;
  Status activate(std::uint64_t features, std::span<QueueRunner* const> queues) override;
  void reset() noexcept override;
  Status sharing_changed(unsigned queue, QueueRunner& runner) override;
  [[nodiscard]] std::vector<DeviceStat> stats() const override;

  /// Has the medium get that size, and tells the driver. Errors: as the medium says, or it keeps
  /// its size.
  Status resize(std::uint64_t bytes) override;
  void set_rates(const Rates& rates) noexcept override { throttle_.change(rates); }
  /// Looks how large the medium is now, and tells the driver if that has changed. What is
  /// in flight beyond a new end fails as the medium says. Any thread. Errors: the host does not
  /// tell.
  Status look_at_capacity();
  Status look_again() override { return look_at_capacity(); }
  /// Bytes, as the driver was told last.
  [[nodiscard]] std::uint64_t capacity() const noexcept {
    return capacity_.load(std::memory_order_relaxed);
  }

  [[nodiscard]] const BlkCounters& counters() const noexcept { return counters_; }

 private:
  friend class BlkQueue;

  std::shared_ptr<BlockBackend> backend_;
  BlkOptions options_;
  DeviceTraits traits_;
  virtio::BlkConfig config_{};  ///< but for `capacity` and `writeback`
  std::atomic<std::uint64_t> capacity_;
  std::atomic<bool> writeback_{true};
  BlkCounters counters_;
  Throttle throttle_;  ///< its own; counts its waits in any case
  /// Of each queue: what one needs that a vCPU thread uses as well has been had of the host.
  /// DiskConfig has that done at the start where it is known then.
  std::vector<bool> reserved_;
  std::vector<BlkTraffic> traffic_;  ///< of each queue, since the device was made
  std::vector<std::unique_ptr<BlkQueue>> queues_;
};

}  // namespace bellhop
