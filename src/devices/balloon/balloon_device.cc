#include "devices/balloon/balloon_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "devices/balloon/balloon_queue.h"
#include "virtio/abi/balloon.h"
#include "virtio/abi/ring.h"
#include "virtio/device/config_space.h"

namespace bellhop {

using namespace virtio;

namespace {

constexpr std::uint16_t kQueues = kBalloonReportingQueue + 1;

std::uint32_t pages_of(std::uint64_t bytes) noexcept {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes / kBalloonPageBytes, UINT32_MAX));
}

/// Which queues are the ones that not every driver has; kQueues: there is none.
struct OptionalQueues {
  unsigned stats = kQueues;
  unsigned reporting = kQueues;
};

/// By 5.5.2 a queue keeps its number whether those before it are used or not. Linux numbers those
/// that it uses, so that page reports come on queue 3 or 2 there. What is set up shows which it is.
OptionalQueues find_queues(std::uint64_t features, std::span<QueueRunner* const> queues) noexcept {
  OptionalQueues found;
  unsigned next = kBalloonStatsQueue;
  if ((features & feature_mask(kBalloonFeatureStatsVq)) != 0) found.stats = next++;
  if ((features & feature_mask(kBalloonFeatureReporting)) != 0) {
    found.reporting = queues[kBalloonReportingQueue] != nullptr ? kBalloonReportingQueue : next;
  }
  return found;
}

}  // namespace

BalloonDevice::BalloonDevice(const GuestMemory& memory, BalloonOptions options)
    : options_(std::move(options)),
      memory_bytes_(memory.total_size()),
      wanted_pages_(pages_of(options_.size)),
      pages_(memory, counters_) {
  std::uint64_t features = 0;
  if (options_.deflate_on_oom) features |= feature_mask(kBalloonFeatureDeflateOnOom);
  if (options_.stats_interval.count() != 0) features |= feature_mask(kBalloonFeatureStatsVq);
  if (options_.free_page_reporting) {
    // Without the latter a driver that fills free pages with a pattern reports none.
    features |= feature_mask(kBalloonFeatureReporting) | feature_mask(kBalloonFeaturePagePoison);
  }
  traits_ = {.type = DeviceType::kBalloon,
             .id = options_.id,
             .features = features,
             .queue_count = kQueues,
             .queue_max_size = options_.queue_size,
             .config_bytes = sizeof(BalloonConfig)};
}

BalloonDevice::~BalloonDevice() = default;

void BalloonDevice::read_config(std::uint32_t offset, std::span<std::byte> data) noexcept {
  const BalloonConfig config{.num_pages = wanted_pages_.load(std::memory_order_relaxed),
                             .actual = actual_pages_.load(std::memory_order_relaxed),
                             .free_page_hint_cmd_id = 0,
                             .poison_val = poison_.load(std::memory_order_relaxed)};
  read_config_space(config, offset, data);
}

void BalloonDevice::write_config(std::uint32_t offset, std::span<const std::byte> data) noexcept {
  // Whole (5.5.5), or byte by byte, as legacy drivers write.
  const auto put = [&](std::size_t at, std::atomic<std::uint32_t>& field) {
    const auto written =
        write_config_field(at, field.load(std::memory_order_relaxed), offset, data);
    if (written) field.store(*written, std::memory_order_relaxed);
    return written.has_value();
  };
  if (data.size() == 1 || data.size() == sizeof(std::uint32_t)) {
    if (put(offsetof(BalloonConfig, actual), actual_pages_)) return;
    if (offers(kBalloonFeaturePagePoison) && put(offsetof(BalloonConfig, poison_val), poison_)) {
      return;
    }
  }
  // The other fields are the host's.
  counters_.guest_faults.add();
}

Status BalloonDevice::activate(std::uint64_t features, std::span<QueueRunner* const> queues) {
  features_.store(features, std::memory_order_relaxed);
  const OptionalQueues optional = find_queues(features, queues);
  for (unsigned i = 0; i < queues.size(); ++i) {
    QueueRunner* const runner = queues[i];
    if (runner == nullptr) continue;
    QueueHandler* handler = nullptr;
    if (i == kBalloonInflateQueue) {
      inflate_ = std::make_unique<BalloonPageQueue>(BalloonPageQueue::Direction::kInflate, pages_,
                                                    counters_, *runner);
      handler = inflate_.get();
    } else if (i == kBalloonDeflateQueue) {
      deflate_ = std::make_unique<BalloonPageQueue>(BalloonPageQueue::Direction::kDeflate, pages_,
                                                    counters_, *runner);
      handler = deflate_.get();
    } else if (i == optional.stats) {
      stats_queue_ = std::make_unique<BalloonStatsQueue>(*this, *runner);
      handler = stats_queue_.get();
    } else if (i == optional.reporting) {
      report_ = std::make_unique<BalloonReportQueue>(*this, pages_, counters_, *runner);
      handler = report_.get();
    } else {
      handler = idle_.emplace_back(std::make_unique<BalloonIdleQueue>(*runner)).get();
    }
    runner->set_handler(handler);
  }
  return {};
}

void BalloonDevice::reset() noexcept {
  inflate_.reset();
  deflate_.reset();
  stats_queue_.reset();
  report_.reset();
  idle_.clear();
  guest_stats_.clear();
  actual_pages_ = 0;
  poison_ = 0;
  features_ = 0;
}

Status BalloonDevice::resize(std::uint64_t bytes) {
  if (bytes % kBalloonPageBytes != 0) {
    return fail(fmt::format("{} bytes are no multiple of {}", bytes, kBalloonPageBytes), EINVAL);
  }
  if (bytes > memory_bytes_) {
    return fail(fmt::format("{} bytes are more than the guest's memory, which has {}", bytes,
                            memory_bytes_),
                EINVAL);
  }
  const std::uint32_t pages = pages_of(bytes);
  if (wanted_pages_.exchange(pages, std::memory_order_acq_rel) != pages) config_changed();
  return {};
}

std::uint64_t BalloonDevice::actual_bytes() const noexcept {
  return actual_pages_.load(std::memory_order_relaxed) * kBalloonPageBytes;
}

bool BalloonDevice::offers(unsigned bit) const noexcept {
  return (traits_.features & feature_mask(bit)) != 0;
}

bool BalloonDevice::contents_matter() const noexcept {
  // 5.5.6.7: zeros will do, and are what the host gives.
  return (features_.load(std::memory_order_relaxed) & feature_mask(kBalloonFeaturePagePoison)) !=
             0 &&
         poison_.load(std::memory_order_relaxed) != 0;
}

std::vector<DeviceStat> BalloonDevice::stats() const {
  std::vector<DeviceStat> all{
      {.name = "wanted_bytes",
       .value = wanted_pages_.load(std::memory_order_relaxed) * kBalloonPageBytes,
       .level = true},
      {.name = "actual_bytes", .value = actual_bytes(), .level = true},
      {.name = "inflated_pages", .value = counters_.inflated_pages.get()},
      {.name = "deflated_pages", .value = counters_.deflated_pages.get()},
      {.name = "reported_bytes", .value = counters_.reported_bytes.get()},
      {.name = "released_bytes", .value = counters_.released_bytes.get()},
      {.name = "host_errors", .value = counters_.host_errors.get()},
      {.name = "guest_faults", .value = counters_.guest_faults.get()}};
  if (!offers(kBalloonFeatureStatsVq)) return all;
  all.push_back({.name = "stats_updates", .value = counters_.stats_updates.get()});
  for (std::size_t tag = 0; tag < BalloonStats::kNames.size(); ++tag) {
    all.push_back(
        {.name = BalloonStats::kNames[tag], .value = guest_stats_.value(tag), .level = true});
  }
  return all;
}

}  // namespace bellhop
