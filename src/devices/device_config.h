#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/rate_group.h"
#include "virtio/abi/ring.h"
#include "virtio/queue/notify_choice.h"
#include "virtio/queue/notify_mode.h"

namespace bellhop {

class ConsoleWindow;
class GuestMemory;
class OutputFiles;

/// What the configuration of every device begins with. Values, as parsed.
struct DeviceConfig {
  std::string id;  ///< "disk0", ... where not given
  NotifyMode notify = NotifyMode::kIoEventFd;
  /// With NotifyMode::kAdaptive; nothing: as the machine says.
  std::optional<Optimize> optimize = {};
  std::string iothread;                  ///< a name from the machine's; empty: the first
  std::chrono::nanoseconds coalesce{0};  ///< how long an interrupt may be put off
  bool packed = false;                   ///< offers the driver packed rings
  bool queue_reset = false;              ///< offers it the reset of single queues
  bool notification_data = false;        ///< offers it to say in notifications how far it is
  bool in_order = false;                 ///< offers it used buffers in order
  std::string place;  ///< of the file that asks for it: "machine.toml:5"; empty: no file does
};

/// What its options add to virtio::kRingFeatures.
[[nodiscard]] constexpr std::uint64_t ring_features(const DeviceConfig& config) noexcept {
  std::uint64_t features = 0;
  if (config.packed) features |= virtio::feature_mask(virtio::kFeatureRingPacked);
  if (config.queue_reset) features |= virtio::feature_mask(virtio::kFeatureRingReset);
  if (config.notification_data) features |= virtio::feature_mask(virtio::kFeatureNotificationData);
  if (config.in_order) features |= virtio::feature_mask(virtio::kFeatureInOrder);
  return features;
}

/// What devices need of the process around them: live things, from where the machine is made.
struct DeviceHost {
  const GuestMemory* memory = nullptr;         ///< outlives the devices
  int standard_input = 0;                      ///< what a console at stdio reads
  std::shared_ptr<ConsoleWindow> window = {};  ///< of the consoles; may be null
  OutputFiles* outputs = nullptr;              ///< opens files for output; may be null
  const RateGroups* rate_groups = nullptr;     ///< outlive the devices; null: there are none
  bool on_io_uring = true;                     ///< the loops of all of the device's I/O threads
  bool has_vcpus = true;                       ///< whose kicks come as exits, and may be served so
};

}  // namespace bellhop
