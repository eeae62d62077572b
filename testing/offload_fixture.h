#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <initializer_list>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "testing/eventually.h"
#include "testing/fake_driver.h"
#include "testing/fake_hypervisor.h"
#include "testing/test_memory.h"
#include "transport/negotiation.h"
#include "virtio/abi/ring.h"

namespace bellhop::testing {

/// A driver before a device that has others serve its rings.
class OffloadFixture : private TransportHost {
 public:
  static constexpr std::uint16_t kSize = 16;
  static constexpr std::uint8_t kUp = virtio::kStatusAcknowledge | virtio::kStatusDriver |
                                      virtio::kStatusFeaturesOk | virtio::kStatusDriverOk;

  OffloadFixture(const OffloadFixture&) = delete;
  OffloadFixture& operator=(const OffloadFixture&) = delete;

  void serve(std::unique_ptr<VirtioDevice> device) {
    negotiation = must(Negotiation::create(
        std::move(device),
        {.memory = &memory, .threads = {thread.get()}, .notify = NotifyMode::kIoEventFd}, *this));
  }
  /// For tests whose rings are served by what goes before this.
  void finish() {
    if (negotiation) negotiation->write_status(0);
    negotiation.reset();
  }
  /// From a reset on, with all features but EVENT_IDX and `declined`; the status that comes of it.
  std::uint8_t bring_up() {
    negotiation->write_status(0);
    drivers.clear();
    for (std::uint32_t i = 0; i < negotiation->life().queue_count(); ++i) {
      // One of them lies above the hole.
      const GuestAddress at{i == 1 ? kHighBase : 0x10000 * std::uint64_t{i + 1}};
      EXPECT_TRUE(memory.write(at, std::vector<std::byte>(FakeDriver::bytes_needed(kSize))));
      drivers.emplace_back(memory, at, kSize);
      negotiation->life().change_queue(
          i, [&](QueueConfig& config) { config = drivers.back().config(); });
    }
    negotiation->write_status(virtio::kStatusAcknowledge | virtio::kStatusDriver);
    negotiation->set_driver_features(
        0,
        negotiation->device_features(0) &
            ~static_cast<std::uint32_t>(virtio::feature_mask(virtio::kFeatureEventIdx) | declined));
    negotiation->set_driver_features(1, negotiation->device_features(1));
    negotiation->write_status(kUp & ~virtio::kStatusDriverOk);
    negotiation->write_status(kUp);
    return negotiation->status();
  }
  /// Whether `buffers` come back used.
  bool works(unsigned queue, std::initializer_list<FakeDriver::Buffer> buffers) {
    EXPECT_TRUE(drivers[queue].add(buffers));
    if (drivers[queue].offer()) negotiation->life().notify(queue);
    return eventually([&] { return drivers[queue].reap().has_value(); });
  }
  [[nodiscard]] bool needs_reset() const {
    return (negotiation->status() & virtio::kStatusNeedsReset) != 0;
  }

  GuestMemory memory = make_memory();
  std::unique_ptr<IoThread> thread = must(IoThread::start({}));
  std::unique_ptr<Negotiation> negotiation;
  std::vector<FakeDriver> drivers;
  std::uint64_t declined = 0;  ///< features, of the first 32

 protected:
  OffloadFixture() = default;
  ~OffloadFixture() { finish(); }

 private:
  Status arm_doorbell(unsigned, Server, const EventFd&) override { return {}; }
  void disarm_doorbell(unsigned, const EventFd&) noexcept override {}
  [[nodiscard]] bool doorbells_reachable() const noexcept override { return true; }
  void device_was_reset() noexcept override {}
  void raise_config_interrupt() noexcept override {}
};

}  // namespace bellhop::testing
