#pragma once

#include <cstdint>
#include <memory>

#include "base/file_roles.h"
#include "base/result.h"
#include "block/block_source.h"
#include "devices/blk/blk_throttle.h"
#include "devices/device_config.h"
#include "devices/device_option.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

/// `--disk path=...`; its id is GET_ID's answer, too.
struct DiskConfig : DeviceConfig {
  BlockSource source;
  unsigned queues = 1;
  unsigned queue_size = 256;
  BlkRates rates;

  static const DeviceOption kOption;
  static Result<DiskConfig> parse(const PropertyList& properties);
  [[nodiscard]] Status check_files(FileRoles& roles) const;
};

/// Errors: the source cannot be opened as asked.
Result<std::unique_ptr<VirtioDevice>> make_device(const DiskConfig& config, const DeviceHost& host);

}  // namespace bellhop
