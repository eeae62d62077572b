#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <variant>

#include "base/result.h"
#include "devices/device_config.h"
#include "devices/device_option.h"
#include "devices/net/rx_filter.h"
#include "devices/net/vhost_user_nic.h"
#include "net/net_source.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

/// Whether the kernel's vhost-net is to carry the frames.
enum class Vhost : std::uint8_t {
  kOff,
  kOn,     ///< where it can be had
  kForce,  ///< or the machine does not start
};

/// What lies under a NIC, as the user asks for it: a wire that a device of ours serves, or a
/// process that serves the queues in its place. Another kind is another alternative
/// (base/option_variant.h): it reads its own keys and checks itself; a wire opens itself, too.
using NicSource = std::variant<TapSource, PasstSource, VhostUserNic>;

/// `--net tap=...`, `--net user`. `iothread` may be several, joined by ':', which serve the pairs
/// in turn.
struct NicConfig : DeviceConfig {
  NicSource source;
  MacAddress mac = 0;  ///< 0: made up, another one on each start
  unsigned queue_size = 256;
  bool gro = true;  ///< datagrams that the guest sends one after the other leave as one frame
  Vhost vhost = Vhost::kOff;
  Rates rates;             ///< each way
  std::string rate_group;  ///< in its place, for both ways together: as DiskConfig's

  static const DeviceOption kOption;
  static Result<NicConfig> parse(const PropertyList& properties);
  Status check_together(std::span<const NicConfig> others) const;
  void add_needs(HostNeeds& needs) const;
  /// Its descriptors came with a request: fd= has their numbers as long as that lasts.
  void borrow_fds() noexcept;
  [[nodiscard]] unsigned offloaded_queues() const noexcept;
  /// Who serves the queues in the device's place; null: nobody.
  [[nodiscard]] const VhostUserNic* back_end() const noexcept {
    return std::get_if<VhostUserNic>(&source);
  }
  [[nodiscard]] bool shares_memory() const noexcept { return back_end() != nullptr; }
  static constexpr std::size_t kQueuesTogether = 2;  ///< a pair's
};

/// Errors: the source cannot be had as asked, or vhost-net although it must; a back end that is
/// missing or lacks something, or memory that it cannot map.
Result<std::unique_ptr<VirtioDevice>> make_device(const NicConfig& config, const DeviceHost& host);

}  // namespace bellhop
