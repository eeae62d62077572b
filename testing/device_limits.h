#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "event/io_thread.h"
#include "testing/limits_driver.h"
#include "testing/mode_changer.h"
#include "testing/ring_layout.h"
#include "testing/test_memory.h"
#include "transport/inprocess/in_process_device.h"
#include "virtio/abi/ring.h"

namespace bellhop::testing {

/// What a device promises to drivers, by its configuration space, its features and the standard,
/// and the requests that go to the end of it.
class DeviceLimits {
 public:
  virtual ~DeviceLimits() = default;

  /// Of its queues, as options allow.
  [[nodiscard]] virtual std::vector<std::uint16_t> queue_sizes() const = 0;
  [[nodiscard]] virtual std::unique_ptr<VirtioDevice> make(const GuestMemory& memory,
                                                           std::uint16_t queue_size) = 0;
  /// That the driver takes, of those offered.
  [[nodiscard]] virtual std::uint64_t features(std::uint64_t offered) const { return offered; }
  /// Makes requests up to the limits, and looks at the answers.
  virtual void use(LimitsDriver& driver) = 0;

  /// A queue whose requests are answered with a status in their last byte, and what refuses them.
  struct Answers {
    unsigned queue = 0;
    std::uint8_t error = 0;
  };
  [[nodiscard]] virtual std::vector<Answers> answers() const { return {}; }
  /// A peer that serves the queues may know less of rings.
  [[nodiscard]] virtual bool knows_indirect() const { return true; }
};

inline void expect_refusals_are_told(const DeviceLimits& limits, LimitsDriver& driver) {
  for (const DeviceLimits::Answers& one : limits.answers()) {
    for (unsigned way = 0; way < LimitsDriver::kMalformedWays; ++way) {
      SCOPED_TRACE(fmt::format("malformed in way {}", way));
      if (!driver.give_malformed(one.queue, way)) continue;
      const auto answer = driver.take(one.queue);
      ASSERT_TRUE(answer);
      EXPECT_NE(answer->length, 0U);
      EXPECT_EQ(std::to_integer<unsigned>(answer->bytes.back()), one.error);
    }
  }
}

struct LimitsHost {
  GuestMemory memory = make_memory(LimitsDriver::kMemory, LimitsDriver::kHighMemory);
  std::unique_ptr<IoThread> thread = must(IoThread::start({}));
};

inline void expect_kept(DeviceLimits& limits, LimitsHost& host, const RingSetup& setup,
                        NotifyMode mode, unsigned seed) {
  SCOPED_TRACE(fmt::format("queues of {}, driver's of {}, {}{}{}{}, {}, seed {}", setup.device_size,
                           setup.driver_size,
                           setup.layout == Layout::kDirect ? "direct" : "indirect",
                           setup.event_idx ? ", event index" : "", setup.packed ? ", packed" : "",
                           setup.in_order ? ", in order" : "", to_string(mode), seed));
  auto device = must(InProcessDevice::create(
      limits.make(host.memory, setup.device_size),
      {.memory = &host.memory,
       .threads = {host.thread.get()},
       .notify = mode,
       .ring_features = (setup.packed ? virtio::feature_mask(virtio::kFeatureRingPacked) : 0) |
                        (setup.in_order ? virtio::feature_mask(virtio::kFeatureInOrder) : 0)}));
  LimitsDriver driver(host.memory, *device, setup, seed);
  std::uint64_t features = limits.features(device->life().offered_features());
  if (setup.layout == Layout::kDirect)
    features &= ~virtio::feature_mask(virtio::kFeatureIndirectDesc);
  if (!setup.packed) features &= ~virtio::feature_mask(virtio::kFeatureRingPacked);
  if (!setup.in_order) features &= ~virtio::feature_mask(virtio::kFeatureInOrder);
  if (!setup.event_idx) features &= ~virtio::feature_mask(virtio::kFeatureEventIdx);
  must(device->start(features, driver.queue_configs()));
  std::optional<ModeChanger> changer;
  if (mode == NotifyMode::kAdaptive) changer.emplace(device->life());
  ASSERT_NO_FATAL_FAILURE(limits.use(driver));
  ASSERT_NO_FATAL_FAILURE(expect_refusals_are_told(limits, driver));
  if (!limits.answers().empty()) {
    ASSERT_NO_FATAL_FAILURE(limits.use(driver));
  }
  EXPECT_EQ(device->resets_needed(), 0U);
  // A ring of one entry has no room for a direct request and its answer.
  if (setup.driver_size > 1 || setup.layout == Layout::kIndirect) {
    EXPECT_NE(driver.answered(), 0U);
  }
}

/// What the device promises, it accepts: for each size that its queues may have, rings of that size
/// and smaller, direct and indirect chains, notified in one way or in changing ones. A request that
/// is refused is told so, where there is a place for it.
inline void expect_limits_are_kept(DeviceLimits& limits) {
  LimitsHost host;
  unsigned seed = 1;
  for (const std::uint16_t size : limits.queue_sizes()) {
    const std::set<std::uint16_t> sizes{1, std::min<std::uint16_t>(2, size),
                                        std::min<std::uint16_t>(16, size),
                                        std::max<std::uint16_t>(size / 2, 1), size};
    for (const std::uint16_t driver_size : sizes) {
      for (const Layout layout : {Layout::kDirect, Layout::kIndirect}) {
        if (layout == Layout::kIndirect && !limits.knows_indirect()) continue;
        ++seed;
        const NotifyMode mode = seed % 5 == 0   ? NotifyMode::kAdaptive
                                : seed % 2 == 0 ? NotifyMode::kIoEventFd
                                                : NotifyMode::kSync;
        expect_kept(limits, host,
                    {.device_size = size,
                     .driver_size = driver_size,
                     .layout = layout,
                     .event_idx = limits.knows_indirect() && seed % 3 != 0,
                     .packed = limits.knows_indirect() && tests_packed_rings(),
                     .in_order = limits.knows_indirect() && tests_rings_in_order()},
                    mode, seed);
        if (::testing::Test::HasFailure()) return;
      }
    }
  }
}

}  // namespace bellhop::testing
