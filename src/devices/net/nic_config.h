#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"
#include "devices/device_config.h"
#include "devices/device_option.h"
#include "devices/net/rx_filter.h"
#include "net/net_source.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

/// Whether the kernel's vhost-net is to carry the frames.
enum class Vhost : std::uint8_t {
  kOff,
  kOn,     ///< where it can be had
  kForce,  ///< or the machine does not start
};

/// `--net tap=...`, `--net user`. `iothread` may be several, joined by ':', which serve the pairs
/// in turn.
struct NicConfig : DeviceConfig {
  NetSource source;
  MacAddress mac = 0;  ///< 0: made up, another one on each start
  unsigned queue_size = 256;
  bool gro = true;  ///< datagrams that the guest sends one after the other leave as one frame
  Vhost vhost = Vhost::kOff;

  static const DeviceOption kOption;
  static Result<NicConfig> parse(const PropertyList& properties);
  Status check_together(std::span<const NicConfig> others) const;
  /// Its descriptors came with a request: fd= has their numbers as long as that lasts.
  void borrow_fds() noexcept;
  [[nodiscard]] unsigned offloaded_queues() const noexcept;
  static constexpr std::size_t kQueuesTogether = 2;  ///< a pair's
};

/// Errors: the source cannot be had as asked, or vhost-net although it must.
Result<std::unique_ptr<VirtioDevice>> make_device(const NicConfig& config, const DeviceHost& host);

}  // namespace bellhop
