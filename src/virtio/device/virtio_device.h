#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "virtio/abi/config.h"
#include "virtio/abi/ring.h"
#include "virtio/queue/offloaded_queue.h"
#include "virtio/queue/queue_runner.h"

namespace bellhop {

/// What never changes about a device.
struct DeviceTraits {
  virtio::DeviceType type = virtio::DeviceType::kBlock;
  std::string id;              ///< for people: "disk0"
  std::uint64_t features = 0;  ///< offered, device-specific ones only
  /// Offered, too. Fewer where another process serves the rings and lacks some.
  std::uint64_t ring_features = virtio::kRingFeatures;
  std::uint16_t queue_count = 1;
  std::uint16_t queue_max_size = 256;
  std::uint32_t config_bytes = 0;  ///< size of the device-specific configuration space
  bool keeps_state = false;        ///< VirtioDevice::save_state()
  /// Of the queues the last so many: a vhost-user front end serves these itself (a NIC's control
  /// queue).
  std::uint16_t front_end_queues = 0;
  /// Of `features` what a vhost-user front end is not offered: it has them by its own queues, or
  /// they need a process that lives as long as the driver.
  std::uint64_t front_end_features = 0;
};

/// Told when a device has changed its configuration space by itself. Any thread.
class ConfigListener {
 public:
  virtual void config_changed() noexcept = 0;

 protected:
  ~ConfigListener() = default;
};

/// A stat that a device keeps of itself, for `--stats`.
struct DeviceStat {
  const char* name = "";
  std::uint64_t value = 0;
  bool level =
      false;  ///< something that rises and falls, not a count: its differences mean nothing
};

/// A virtio device, the same whichever transport, VMM or test it serves. It knows neither.
///
/// Calls come one at a time, except that read_config() and write_config() may come while queues run
/// on other threads.
class VirtioDevice {
 public:
  virtual ~VirtioDevice() = default;
  [[nodiscard]] virtual const DeviceTraits& traits() const noexcept = 0;
  /// Bytes of the configuration space; `offset + data.size()` is within config_bytes, so these are
  /// not called where there are none.
  virtual void read_config(std::uint32_t /*offset*/, std::span<std::byte> /*data*/) noexcept {}
  virtual void write_config(std::uint32_t /*offset*/,
                            std::span<const std::byte> /*data*/) noexcept {}
  /// Who is to serve `queue` of a driver with these features; asked right before activate(). If any
  /// of a device's queues cannot be served by its choice, none is.
  [[nodiscard]] virtual ServerChoice server(unsigned /*queue*/,
                                            std::uint64_t /*features*/) const noexcept {
    return {};
  }
  /// The driver is ready: sets the handler of every queue in `queues` (indexed as the standard
  /// numbers them; null where the driver left one disabled, or a back end serves it). Their
  /// rings are started afterwards. Errors: a fault of the host; the transport marks the device
  /// NEEDS_RESET.
  virtual Status activate(std::uint64_t features, std::span<QueueRunner* const> queues) = 0;
  /// The thread that serves a queue where no other one may: it outlives the device's queues. Null:
  /// the one that its user has chosen.
  [[nodiscard]] virtual IoThread* own_thread(unsigned /*queue*/) noexcept { return nullptr; }
  /// Before activate(), if server() chose a back end for any queue: sets the back end of every
  /// queue in `queues` (null where it is the device's own, or disabled). reset() undoes it.
  virtual Status offload(std::uint64_t /*features*/, std::span<OffloadedQueue* const> /*queues*/) {
    return fail("the device has no other server for its queues");
  }
  /// Back to the state before activate(). All queues were stopped before.
  virtual void reset() noexcept = 0;
  /// QueueRunner::shares_with_vcpu() of a queue may have changed since activate(), or since this
  /// was called last; the queue does not run, others may. Also before activate(), so that what the
  /// host has for that is there by then. Errors: the host refuses, and all is as it was.
  virtual Status sharing_changed(unsigned /*queue*/, QueueRunner& /*runner*/) { return {}; }
  /// What it knows of its driver that neither the rings nor their front end do, while all queues
  /// rest: for a device that is the same in another process.
  [[nodiscard]] virtual std::vector<std::byte> save_state() { return {}; }
  /// The next activate() goes on from there; empty: it begins anew. While it is not active. Errors:
  /// not the state of such a device; it begins anew then.
  virtual Status load_state(std::span<const std::byte> /*state*/) {
    return fail("the device keeps no state");
  }
  /// Of a device some of whose queues its front end serves: that the driver uses the first `count`
  /// of the others now, and no more. Between activate() and reset(), by the same thread. Errors: a
  /// fault of the host.
  virtual Status use_queues(unsigned /*count*/) { return {}; }
  /// What lies under it on the host may have changed: the driver is told what has. Any thread.
  /// Errors: the host does not tell.
  virtual Status look_again() { return {}; }
  /// Where its end on the host is, which for some only the host knows beforehand (a pseudo
  /// terminal); of the first one. Empty: there is nothing to tell. Any thread.
  [[nodiscard]] virtual std::string host_end() const { return {}; }
  /// What it has counted since it was made, in a fixed order. Any thread.
  [[nodiscard]] virtual std::vector<DeviceStat> stats() const { return {}; }

  /// The transport's: before the first activate().
  void set_config_listener(ConfigListener* listener) noexcept { config_listener_ = listener; }

 protected:
  /// Tells the driver that the configuration space reads differently from now on. Any thread.
  void config_changed() noexcept {
    if (config_listener_ != nullptr) config_listener_->config_changed();
  }

 private:
  ConfigListener* config_listener_ = nullptr;
};

}  // namespace bellhop
