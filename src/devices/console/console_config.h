#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/file_roles.h"
#include "base/result.h"
#include "devices/device_config.h"
#include "devices/device_option.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

/// `--console stdio`, one for each port.
struct ConsolePortConfig {
  enum class End : std::uint8_t { kNull, kStdio, kFile, kSocket, kPty };
  End end = End::kNull;
  std::string path;   ///< of the file or the socket
  std::string name;   ///< of the port in the guest; empty: a console
  std::string place;  ///< as DeviceConfig has it
};

/// All `--console` together: one device.
struct ConsoleConfig : DeviceConfig {
  std::vector<ConsolePortConfig> ports;

  static const DeviceOption kOption;
  /// All ports.
  static Result<ConsoleConfig> parse(std::span<const PropertyList> ports);
  [[nodiscard]] Status check_files(FileRoles& roles) const;
  void add_needs(HostNeeds& needs) const;
  [[nodiscard]] Status check_added() const;
};

/// Prints where the pseudo terminals are. Errors: a back end that cannot be had as asked.
Result<std::unique_ptr<VirtioDevice>> make_device(const ConsoleConfig& config,
                                                  const DeviceHost& host);

}  // namespace bellhop
