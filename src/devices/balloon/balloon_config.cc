#include "devices/balloon/balloon_config.h"

#include "devices/balloon/balloon_device.h"

namespace bellhop {

Result<std::unique_ptr<VirtioDevice>> make_device(const BalloonSettings& settings,
                                                  const DeviceHost& host) {
  return std::make_unique<BalloonDevice>(
      *host.memory, BalloonOptions{.id = settings.id,
                                   .size = settings.size,
                                   .deflate_on_oom = settings.deflate_on_oom,
                                   .free_page_reporting = settings.free_page_reporting,
                                   .stats_interval = settings.stats_interval});
}

}  // namespace bellhop
