#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/rate_group.h"
#include "base/resizable.h"
#include "base/result.h"
#include "base/throttle.h"
#include "config/machine_config.h"
#include "devices/device_config.h"
#include "machine/device_slots.h"
#include "machine/machine_counters.h"
#include "machine/queue_times.h"
#include "virtio/device/notify_tuner.h"

namespace bellhop {

/// The virtio devices of a machine by their ids, in the slots of its bus: how they come, are
/// changed while it lives, and go. The machine's main thread owns it and makes the calls that do
/// not say otherwise.
class MachineDevices {
 public:
  using MoreDevices = std::function<Result<std::vector<PreparedDevice>>(const SlotWiring&)>;

  /// All devices of `config`, and behind them what `more` makes, if it is set. `host` is what they
  /// find there. Errors: as Machine::create().
  static Result<std::unique_ptr<MachineDevices>> create(const MachineConfig& config,
                                                        const DeviceHost& host,
                                                        const MoreDevices& more,
                                                        const SlotWiring& wiring);

  /// vCPUs stand still where it says so there.
  [[nodiscard]] DeviceSlots& slots() noexcept { return *slots_; }

  /// Machine::add_device(), remove_device().
  Result<std::string> add(const MachineConfig& config);
  Status remove(std::string_view id);
  /// Takes devices away that may go. vCPUs stand still.
  void take_away(std::vector<std::string> ids);
  /// The ids of what has gone since the last call.
  std::vector<std::string> take_gone() { return std::exchange(gone_, {}); }

  /// Machine::resize_device(), set_rates(): any thread, one call at a time.
  Status resize(std::string_view id, std::uint64_t bytes);
  Status set_rates(std::string_view id, const Rates& rates);
  /// Machine::set_notify().
  Status set_notify(std::string_view id, std::optional<unsigned> queue, NotifyWish wish);

  /// Has requests stamped from now on, also of devices that come later:
  /// DeviceLife::trace_requests().
  void trace_requests(std::optional<std::uint64_t> driver_clock);

  // Any thread.

  /// Of devices, their queues and groups of rates.
  [[nodiscard]] MachineCounters counters() const;
  [[nodiscard]] std::vector<QueueTimes> take_request_times();
  [[nodiscard]] std::string host_end(std::string_view id) const;

 private:
  MachineDevices(const DeviceHost& host, const SlotWiring& wiring)
      : host_(host), iothreads_(wiring.iothreads) {}

  Status make_slots(const MachineConfig& config, const SlotWiring& wiring);
  Status fill_slots(const MachineConfig& config, const MoreDevices& more, const SlotWiring& wiring);
  Status make_tuner(NotifyMode mode);  ///< for adaptive, unless it is there
  void note_changeable(VirtioDevice& device);
  void trace(DeviceLife& life);

  DeviceHost host_;
  std::span<const std::unique_ptr<IoThread>> iothreads_;
  RateGroups rate_groups_;
  std::unique_ptr<DeviceSlots> slots_;
  // Of the devices, and groups of rates, by their ids.
  std::map<std::string, Resizable*, std::less<>> resizables_;
  std::map<std::string, RateLimited*, std::less<>> rate_limited_;
  /// Held while a device is put into the two above or taken out, and by whoever looks at them on
  /// another thread than the main one. Not while vCPUs or queues are waited for.
  mutable std::shared_mutex mutex_;
  std::vector<std::string> gone_;       // devices that take_gone() has not told of
  std::unique_ptr<NotifyTuner> tuner_;  // where a device is adaptive, or may come to be
  bool traced_ = false;
  std::optional<std::uint64_t> driver_clock_;  // DeviceLife::set_driver_clock()
};

}  // namespace bellhop
