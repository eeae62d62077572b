#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/result.h"
#include "devices/device_option.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

/// `--rng src=...`
struct RngConfig {
  std::string id;  ///< "rng0", ... where not given
  std::string source = "/dev/urandom";
  std::uint64_t max_bytes = 0;             ///< for each period; 0: without a limit
  std::chrono::milliseconds period{1000};  ///< in which the guest gets `max_bytes` at most
  NotifyMode notify = NotifyMode::kIoEventFd;
  std::string iothread;  ///< a name from the machine's; empty: the first

  static const DeviceOption kOption;
  static Result<RngConfig> parse(const PropertyList& properties);
};

/// Errors: the source cannot be opened, or is nothing that can be read.
Result<std::unique_ptr<VirtioDevice>> make_device(const RngConfig& config);

}  // namespace bellhop
