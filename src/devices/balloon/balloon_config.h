#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "devices/device_option.h"
#include "memory/guest_memory.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

/// `--balloon size=...`
struct BalloonSettings {
  std::string id;          ///< "balloon0" where not given
  std::uint64_t size = 0;  ///< bytes that the guest is asked to give back
  bool deflate_on_oom = false;
  bool free_page_reporting = false;
  std::chrono::seconds stats_interval{0};  ///< between questions for statistics; 0: none
  NotifyMode notify = NotifyMode::kIoEventFd;
  std::string iothread;  ///< a name from the machine's; empty: the first

  static const DeviceOption kOption;
  static Result<BalloonSettings> parse(const PropertyList& properties);
  [[nodiscard]] Status check_memory(std::uint64_t bytes) const;
};

/// Pages are given back from `memory`, which outlives the device.
Result<std::unique_ptr<VirtioDevice>> make_device(const BalloonSettings& settings,
                                                  const GuestMemory& memory);

}  // namespace bellhop
