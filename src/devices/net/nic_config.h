#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "devices/device_option.h"
#include "devices/net/rx_filter.h"
#include "net/passt.h"
#include "net/tap.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

/// Whether the kernel's vhost-net is to carry the frames.
enum class Vhost : std::uint8_t {
  kOff,
  kOn,     ///< where it can be had
  kForce,  ///< or the machine does not start
};

/// `--net tap=...`, `--net user`
struct NicConfig {
  std::string id;  ///< "net0", ... where not given
  TapConfig tap;
  bool user = false;  ///< user-mode networking instead of the tap
  PasstConfig passt;
  MacAddress mac = 0;  ///< 0: made up, another one on each start
  unsigned queue_size = 256;
  bool gro = true;  ///< datagrams that the guest sends one after the other leave as one frame
  Vhost vhost = Vhost::kOff;
  NotifyMode notify = NotifyMode::kIoEventFd;
  /// A name from the machine's, or several joined by ':', which carry the pairs in turn. Empty: the
  /// first.
  std::string iothread;

  static const DeviceOption kOption;
  static Result<NicConfig> parse(const PropertyList& properties);
  static Status check_together(std::span<const NicConfig> nics);
  [[nodiscard]] unsigned offloaded_queues() const noexcept;
  static constexpr std::size_t kQueuesTogether = 2;  ///< a pair's
};

/// Errors: the tap or passt cannot be had as asked, or vhost-net although it must.
Result<std::unique_ptr<VirtioDevice>> make_device(const NicConfig& config);

}  // namespace bellhop
