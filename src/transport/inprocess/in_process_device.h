#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "virtio/device/device_life.h"

namespace bellhop {

/// A device whose driver is in the same process: no registers, no virtual machine. Kicks and calls
/// are eventfds. For library users, `bench --host inprocess` and tests; the driver's ends of the
/// rings are DriverRings.
class InProcessDevice final : private DoorbellHost, private DeviceListener {
 public:
  /// Errors: no eventfds left.
  static Result<std::unique_ptr<InProcessDevice>> create(std::unique_ptr<VirtioDevice> device,
                                                         DeviceWiring wiring);
  ~InProcessDevice();

  [[nodiscard]] DeviceLife& life() noexcept { return *life_; }
  [[nodiscard]] const DeviceLife& life() const noexcept { return *life_; }
  /// What a ring of these features must be made with.
  static RingFeatures ring_features(std::uint64_t features) noexcept;

  /// The driver is ready: starts the queues that are `ready` in `queues`, queue i at [i]. Errors: a
  /// ring that does not lie where it may; the host refuses. All is as it was made then.
  Status start(std::uint64_t features, std::span<const QueueConfig> queues);
  /// No request is in flight when it returns.
  void stop() { life_->reset(); }

  /// The driver's notification of a queue: its eventfd, or, where the vCPU would drain, a drain on
  /// this thread.
  void kick(unsigned queue) noexcept;
  /// Signalled where the driver is to look at a queue.
  [[nodiscard]] const EventFd& call(unsigned queue) const noexcept { return calls_[queue]; }

  /// Times that the device could not go on without a reset, and that it changed its configuration.
  /// Any thread.
  [[nodiscard]] unsigned resets_needed() const noexcept { return resets_needed_; }
  [[nodiscard]] unsigned config_changes() const noexcept { return config_changes_; }

 private:
  InProcessDevice() = default;

  Status arm_doorbell(unsigned /*queue*/, Server /*server*/, const EventFd& /*doorbell*/) override {
    return {};
  }
  void disarm_doorbell(unsigned /*queue*/, const EventFd& /*doorbell*/) noexcept override {}
  [[nodiscard]] bool doorbells_reachable() const noexcept override { return true; }
  void needs_reset() noexcept override { ++resets_needed_; }
  void config_changed() noexcept override { ++config_changes_; }

  std::vector<EventFd> calls_;
  std::atomic<unsigned> resets_needed_{0};
  std::atomic<unsigned> config_changes_{0};
  std::unique_ptr<DeviceLife> life_;
};

}  // namespace bellhop
