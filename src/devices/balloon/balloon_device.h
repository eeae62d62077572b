#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/resizable.h"
#include "devices/balloon/balloon_pages.h"
#include "devices/balloon/balloon_stats.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

struct BalloonOptions {
  std::string id = "balloon0";
  std::uint64_t size = 0;  ///< bytes that the guest is asked to give back
  bool deflate_on_oom = false;
  bool free_page_reporting = false;
  std::chrono::nanoseconds stats_interval{0};  ///< 0: no statistics
  std::uint16_t queue_size = 128;
};

class BalloonPageQueue;
class BalloonReportQueue;
class BalloonStatsQueue;
class BalloonIdleQueue;

/// virtio-balloon (virtio 1.3, 5.5): what the guest puts in, or reports to be free, really leaves
/// the host. It comes back, as zeros, when the guest touches it.
class BalloonDevice final : public VirtioDevice, public Resizable {
 public:
  BalloonDevice(const GuestMemory& memory, BalloonOptions options);
  ~BalloonDevice() override;

  [[nodiscard]] const DeviceTraits& traits() const noexcept override { return traits_; }
  void read_config(std::uint32_t offset, std::span<std::byte> data) noexcept override;
  void write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept override;
  Status activate(std::uint64_t features, std::span<QueueRunner* const> queues) override;
  void reset() noexcept override;
  [[nodiscard]] std::vector<DeviceStat> stats() const override;

  /// Asks the guest for another size of the balloon. Errors: no multiple of 4 KiB, or more than the
  /// guest's memory (code EINVAL).
  Status resize(std::uint64_t bytes) override;

  [[nodiscard]] const BalloonCounters& counters() const noexcept { return counters_; }
  [[nodiscard]] const BalloonStats& guest_stats() const noexcept { return guest_stats_; }
  [[nodiscard]] std::uint64_t actual_bytes() const noexcept;

 private:
  friend class BalloonStatsQueue;
  friend class BalloonReportQueue;

  [[nodiscard]] bool offers(unsigned bit) const noexcept;
  /// Free pages must keep what is in them: the driver fills them with a pattern and checks it.
  [[nodiscard]] bool contents_matter() const noexcept;

  BalloonOptions options_;
  const std::uint64_t memory_bytes_;
  DeviceTraits traits_;
  std::atomic<std::uint32_t> wanted_pages_{0};
  std::atomic<std::uint32_t> actual_pages_{0};
  std::atomic<std::uint32_t> poison_{0};
  std::atomic<std::uint64_t> features_{0};
  BalloonCounters counters_;
  BalloonPages pages_;
  BalloonStats guest_stats_;

  std::unique_ptr<BalloonPageQueue> inflate_;
  std::unique_ptr<BalloonPageQueue> deflate_;
  std::unique_ptr<BalloonStatsQueue> stats_queue_;
  std::unique_ptr<BalloonReportQueue> report_;
  std::vector<std::unique_ptr<BalloonIdleQueue>> idle_;
};

}  // namespace bellhop
