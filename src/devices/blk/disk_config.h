#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "block/raw_file.h"
#include "devices/device_option.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

/// `--disk path=...`
struct DiskConfig {
  std::string id;      ///< "disk0", ... where not given; also GET_ID's answer
  RawFileConfig file;  ///< an empty path: the null medium of `null_bytes`
  std::uint64_t null_bytes = 0;
  unsigned queues = 1;
  unsigned queue_size = 256;
  NotifyMode notify = NotifyMode::kIoEventFd;
  std::string iothread;  ///< a name from the machine's; empty: the first

  static const DeviceOption kOption;
  static Result<DiskConfig> parse(const PropertyList& properties);
  static Status check_together(std::span<const DiskConfig> disks);
};

/// Errors: the file cannot be opened as asked.
Result<std::unique_ptr<VirtioDevice>> make_device(const DiskConfig& config);

}  // namespace bellhop
