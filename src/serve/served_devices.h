#pragma once

#include <sys/types.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/machine_config.h"
#include "devices/device_config.h"
#include "machine/device_slots.h"
#include "machine/machine_counters.h"
#include "transport/vhost_user/vhost_user_server.h"
#include "virtio/device/notify_tuner.h"

namespace bellhop {

/// Where the front ends of a device connect.
struct ServedSocket {
  std::string at;        ///< a path, or "fd:N": a socket that was passed to us and listens
  std::string option;    ///< what messages call it: "--socket"
  bool in_band = false;  ///< VhostUserDevice::Options
};

/// Devices of a configuration, each served to vhost-user front ends at a socket of its own: the
/// composition root of `bellhop serve`. The calls are the main thread's.
class ServedDevices {
 public:
  /// `sockets` has one for each device of `config`, in the order of devices.def; files of those
  /// that are made get `mode`. The calling process must catch faults (FaultGuard). Errors: anything
  /// wrong with a device, a file, a socket or the host, naming the option.
  static Result<std::unique_ptr<ServedDevices>> create(const MachineConfig& config,
                                                       std::span<const ServedSocket> sockets,
                                                       mode_t mode, const DeviceHost& host);
  /// Connections end, requests in flight are waited for, and the sockets' files are removed.
  ~ServedDevices();

  /// Ends all connections, with what they have in flight, and takes no more.
  void stop();
  /// Tells front ends what has changed under their devices: a disk that has grown. Errors: what the
  /// host does not tell, of the first such device; the others have been looked at.
  Status look_again();
  [[nodiscard]] MachineCounters counters() const;
  /// Kernel thread ids, for CPU-time accounts.
  [[nodiscard]] std::vector<int> iothread_tids() const;

 private:
  ServedDevices() = default;

  IoThreads threads_;
  std::vector<std::unique_ptr<VhostUserServer>> servers_;
  std::unique_ptr<NotifyTuner> tuner_;  ///< where a device is adaptive
};

/// How many devices of each kind `config` has, as device_kinds() has them.
std::vector<std::size_t> count_devices(const MachineConfig& config);

}  // namespace bellhop
