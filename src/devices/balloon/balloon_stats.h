#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "virtio/queue/queue_runner.h"

namespace bellhop {

class BalloonDevice;

/// What the guest says of its memory (virtio 1.3, 5.5.6.3 and 5.5.6.4). Written by its queue, read
/// by any thread.
class BalloonStats {
 public:
  /// Tags 0, 1, ... in their order.
  static constexpr std::array<const char*, 10> kNames{
      "guest_swap_in_bytes",     "guest_swap_out_bytes", "guest_major_faults",
      "guest_minor_faults",      "guest_free_bytes",     "guest_total_bytes",
      "guest_available_bytes",   "guest_cache_bytes",    "guest_huge_page_allocations",
      "guest_huge_page_failures"};

  /// Takes what is in the first `bytes` of `buffers`, as far as statistics can be long. False if
  /// that is no whole number of entries, or too many. Tags that are unknown are left out.
  [[nodiscard]] bool take(const BufferRun& buffers, std::size_t bytes) noexcept;
  void clear() noexcept;
  /// 0 as long as the guest has not told.
  [[nodiscard]] std::uint64_t value(std::size_t tag) const noexcept {
    return values_[tag].load(std::memory_order_relaxed);
  }

 private:
  /// More tags than any driver has.
  static constexpr std::size_t kMaxEntries = 64;

  std::array<std::atomic<std::uint64_t>, kNames.size()> values_{};
};

/// The statistics queue (virtio 1.3, 5.5.6.3). The protocol runs backwards:
///
/// 1. the driver offers one buffer that already holds statistics;
/// 2. the device reads them and keeps the buffer;
/// 3. after the interval it returns the buffer, which asks the driver for new ones;
/// 4. the driver fills the buffer anew and offers it again.
///
/// A buffer that is kept is not held here: it is rewound, so that a reset or a pause need not wait
/// for the interval. The queue is parked until the timer fires.
///
/// On the queue's I/O thread, or under the runner's queue lock.
class BalloonStatsQueue final : public QueueHandler, private TimerHandler {
 public:
  BalloonStatsQueue(BalloonDevice& device, QueueRunner& runner) noexcept
      : device_(device), runner_(runner) {}
  ~BalloonStatsQueue();

  void drain() noexcept override;
  void submit() noexcept override {}
  void begin_anew() noexcept override { taken_ = false; }

 private:
  void on_timer() noexcept override;
  void wait() noexcept;

  BalloonDevice& device_;
  QueueRunner& runner_;
  DescriptorChain chain_;
  bool taken_ = false;            ///< step 2 is done for the chain at the ring's head
  std::atomic<bool> due_{false};  ///< the interval is over: step 3
};

}  // namespace bellhop
