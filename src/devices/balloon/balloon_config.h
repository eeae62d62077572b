#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "base/result.h"
#include "devices/device_config.h"
#include "devices/device_option.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

/// `--balloon size=...`
struct BalloonSettings : DeviceConfig {
  std::uint64_t size = 0;  ///< bytes that the guest is asked to give back
  bool deflate_on_oom = false;
  bool free_page_reporting = false;
  std::chrono::seconds stats_interval{0};  ///< between questions for statistics; 0: none

  static const DeviceOption kOption;
  static Result<BalloonSettings> parse(const PropertyList& properties);
  [[nodiscard]] Status check_memory(std::uint64_t bytes) const;
};

Result<std::unique_ptr<VirtioDevice>> make_device(const BalloonSettings& settings,
                                                  const DeviceHost& host);

}  // namespace bellhop
