#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "devices/device_option.h"
#include "virtio/device/virtio_device.h"

namespace bellhop {

class ConsoleDevice;

/// The window in which somebody looks at a console: who knows its size says so here. It may be
/// there before the device, and outlive it. Any thread.
class ConsoleWindow {
 public:
  /// In characters. Often is no harm: what comes too fast for the driver is told as one change.
  void set_size(std::uint16_t cols, std::uint16_t rows) noexcept;

 private:
  friend class ConsoleDevice;
  std::mutex lock_;
  ConsoleDevice* device_ = nullptr;
  std::uint16_t cols_ = 0;
  std::uint16_t rows_ = 0;
};

/// `--console stdio`, one for each port.
struct ConsolePortConfig {
  enum class End : std::uint8_t { kNull, kStdio, kFile, kSocket, kPty };
  End end = End::kNull;
  std::string path;  ///< of the file or the socket
  std::string name;  ///< of the port in the guest; empty: a console
};

/// All `--console` together: one device.
struct ConsoleConfig {
  std::string id;  ///< "console0" where not given
  std::vector<ConsolePortConfig> ports;
  NotifyMode notify = NotifyMode::kIoEventFd;
  std::string iothread;  ///< a name from the machine's; empty: the first
  std::shared_ptr<ConsoleWindow> window;
  int stdio_input = 0;  ///< what a port at stdio reads: standard input, or one who reads that first

  static const DeviceOption kOption;
  /// All ports.
  static Result<ConsoleConfig> parse(std::span<const PropertyList> ports);
};

/// Prints where the pseudo terminals are. Errors: a back end that cannot be had as asked.
Result<std::unique_ptr<VirtioDevice>> make_device(const ConsoleConfig& config);

}  // namespace bellhop
