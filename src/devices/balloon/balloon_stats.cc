#include "devices/balloon/balloon_stats.h"

#include <algorithm>
#include <cassert>

#include "devices/balloon/balloon_device.h"
#include "virtio/abi/balloon.h"

namespace bellhop {

using virtio::BalloonStat;

bool BalloonStats::take(const BufferRun& buffers, std::size_t bytes) noexcept {
  std::array<BalloonStat, kMaxEntries> entries{};
  const std::size_t count = std::min(bytes / sizeof(BalloonStat), kMaxEntries);
  buffers.copy_out(0, std::as_writable_bytes(std::span(entries).first(count)));
  for (const BalloonStat& entry : std::span(entries).first(count)) {
    const std::uint16_t tag = entry.tag;
    if (tag < values_.size()) values_[tag].store(entry.val, std::memory_order_relaxed);
  }
  return bytes == count * sizeof(BalloonStat);
}

void BalloonStats::clear() noexcept {
  for (auto& value : values_) value.store(0, std::memory_order_relaxed);
}

BalloonStatsQueue::~BalloonStatsQueue() {
  runner_.thread().run_sync([this] { runner_.thread().loop().stop_timer(*this); });
}

void BalloonStatsQueue::drain() noexcept {
  if (runner_.pop(chain_) != Pop::kChain) return;
  if (due_.exchange(false) && taken_) {
    taken_ = false;
    runner_.complete(chain_, 0);
    // A driver may offer a second buffer: it is kept for an interval of its own.
    if (runner_.pop(chain_) != Pop::kChain) return;
  }
  if (!taken_) {
    taken_ = true;
    device_.counters_.stats_updates.add();
    if (!device_.guest_stats_.take(BufferRun(chain_.readable()), chain_.readable_bytes())) {
      device_.counters_.guest_faults.add();
    }
  }
  [[maybe_unused]] const bool back = runner_.rewind(chain_);
  assert(back);
  wait();
}

void BalloonStatsQueue::on_timer() noexcept {
  due_ = true;
  runner_.wake();
}

void BalloonStatsQueue::wait() noexcept {
  runner_.park();
  runner_.thread().start_timer(*this, device_.options_.stats_interval);
}

}  // namespace bellhop
