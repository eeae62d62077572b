#include "devices/blk/disk_config.h"

#include "devices/blk/blk_device.h"

namespace bellhop {

Result<std::unique_ptr<VirtioDevice>> make_device(const DiskConfig& config) {
  std::shared_ptr<BlockBackend> backend;
  if (config.file.path.empty()) {
    backend = make_null_backend(config.null_bytes);
  } else {
    auto file = open_raw_file(config.file);
    if (!file) return forward(file);
    backend = std::move(*file);
  }
  const BlkOptions options{.id = config.id,
                           .queues = static_cast<std::uint16_t>(config.queues),
                           .queue_size = static_cast<std::uint16_t>(config.queue_size),
                           .writeback = true};
  return std::make_unique<BlkDevice>(std::move(backend), options);
}

}  // namespace bellhop
