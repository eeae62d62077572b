#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "base/file_roles.h"
#include "base/result.h"
#include "base/throttle.h"
#include "block/block_source.h"
#include "devices/blk/vhost_user_disk.h"
#include "devices/device_config.h"
#include "devices/device_option.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

/// What lies under a disk, as the user asks for it: a medium that a device of ours serves, or a
/// process that serves the queues in its place. Another kind is another alternative
/// (base/option_variant.h): it reads its own keys and checks itself; a medium opens itself, too.
using DiskSource = std::variant<RawFileSource, NullSource, VhostUserDisk>;

/// `--disk path=...`. `iothread` may be several, joined by ':', which serve the queues in turn. Its
/// id is GET_ID's answer, too, unless another process answers.
struct DiskConfig : DeviceConfig {
  DiskSource source;
  unsigned queues = 1;
  unsigned queue_size = 256;
  /// Whether the driver may switch the write cache; absent: where no process but this can forget
  /// it.
  std::optional<bool> config_wce;
  Rates rates;
  std::string rate_group;  ///< a name from the machine's, in the place of rates; empty: none

  static const DeviceOption kOption;
  static Result<DiskConfig> parse(const PropertyList& properties);
  [[nodiscard]] Status check_files(FileRoles& roles) const;
  void add_needs(HostNeeds& needs) const;
  Status check_together(std::span<const DiskConfig> others) const;
  /// Who serves the queues in the device's place; null: nobody.
  [[nodiscard]] const VhostUserDisk* back_end() const noexcept {
    return std::get_if<VhostUserDisk>(&source);
  }
  [[nodiscard]] unsigned offloaded_queues() const noexcept {
    return back_end() != nullptr ? queues : 0;
  }
  [[nodiscard]] bool shares_memory() const noexcept { return back_end() != nullptr; }
  static constexpr std::size_t kQueuesTogether = 1;  ///< each may have a thread of its own
};

/// Errors: the source cannot be opened as asked; a back end that is missing or lacks something,
/// or memory that it cannot map.
Result<std::unique_ptr<VirtioDevice>> make_device(const DiskConfig& config, const DeviceHost& host);

}  // namespace bellhop
