#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/cpu_list.h"
#include "base/result.h"
#include "base/throttle.h"
#include "config/machine_config.h"
#include "devices/device_config.h"
#include "hypervisor/hypervisor.h"
#include "machine/machine_counters.h"
#include "machine/machine_end.h"
#include "machine/power_button.h"
#include "machine/queue_times.h"
#include "machine/thread_placement.h"

namespace bellhop {

struct PreparedDevice;
struct SlotWiring;

/// What the guest and the machine print and tell, and what its maker adds.
struct MachineHooks {
  /// On a vCPU thread, which must not wait. False: no room for more until serial_has_room().
  std::function<bool(std::span<const std::byte>)> serial_output;
  /// The bench guest's marker port, and what the machine had counted by then. vCPU thread.
  std::function<void(std::uint32_t, const MachineCounters&)> marker;
  /// If it is set, requests are stamped on their way. Where their time went since the machine's
  /// start or the last such call: at the marker's, with its value. vCPU thread.
  std::function<void(std::uint32_t, std::vector<QueueTimes>)> request_times = {};
  /// What the devices find: `memory` is the machine's own.
  DeviceHost host = {};
  /// It has come to an end: wait() would not block. Any thread, perhaps several at once; must not
  /// wait or call back.
  std::function<void()> ended = {};
  /// The guest has let devices go: remove_let_go() is due. vCPU thread; must not wait or call back.
  std::function<void()> let_go = {};
  /// Devices besides those of the configuration, behind which they stand; called by create().
  std::function<Result<std::vector<PreparedDevice>>(const SlotWiring&)> more_devices;
};

/// A virtual machine: the composition root, and the only place that binds an eventfd to an
/// ioeventfd or an irqfd. The main thread owns it; the calls below are its.
class Machine {
 public:
  /// Errors: anything wrong with a file, an option or the host, naming it.
  static Result<std::unique_ptr<Machine>> create(const MachineConfig& config,
                                                 Hypervisor& hypervisor, MachineHooks hooks);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  /// Starts the vCPU threads.
  Status start();
  /// Blocks until the machine ends.
  MachineEnd wait();
  /// Whether wait() would not block. Any thread.
  [[nodiscard]] bool ended() const noexcept;
  /// Ends it from another thread or a signal handler's thread; wait() returns kStopped.
  void stop() noexcept;

  /// vCPUs stand still and no I/O is in flight when pause() returns; resume() goes on.
  void pause();
  void resume();
  /// Takes the power away: devices are reset, and the guest's memory goes back to the host. Only
  /// while paused; the next call but resize_device(), set_rates() and those of devices is
  /// reset().
  void power_off();
  /// Back to power-on and running: devices reset, kernel loaded anew. Only while paused or ended.
  /// After stop() it stays ended, and wait() says so.
  Status reset();

  /// Gives the machine one more device, the only one of `device` (DeviceAddition::alone), and tells
  /// the guest. Returns its place on the bus: "0000:00:05.0". Running, paused or without power.
  /// Errors: as create(), with the machine as it was; no room, or no bus for it.
  Result<std::string> add_device(const MachineConfig& device);
  /// Asks the guest to let go a device that is there. It decides whether and when it does; a reset
  /// has it let go. Errors: code ENOTSUP, the machine has no bus for that.
  Status ask_for_device(std::string_view id);
  /// Takes a device away at once that is there: only without power. Errors: as ask_for_device().
  Status remove_device(std::string_view id);
  /// Takes away what the guest has let go; vCPUs stand still meanwhile. Returns the ids of what has
  /// gone since the last call.
  std::vector<std::string> remove_let_go();

  /// After a serial_output that said false. Any thread.
  void serial_has_room() noexcept;
  /// What the guest will receive on its serial port. Returns how many bytes there was room for; the
  /// rest is for later. Any thread.
  std::size_t serial_input(std::span<const std::byte> bytes) noexcept;
  /// Gives the device of this id another size in bytes (Resizable). Any thread, one call at a time.
  /// Errors: there is none that has a size (code ENOENT), or what the device says, with its id.
  Status resize_device(std::string_view id, std::uint64_t bytes);
  /// Has the device or the group of rates of this id keep to other rates from now on. Any thread,
  /// one call at a time. Errors: there is none that keeps to rates (code ENOENT).
  Status set_rates(std::string_view id, const Rates& rates);
  /// Has the queues of the device of this id notified in another way from now on, or `queue` alone.
  /// Running, paused or without power. Errors, with all of them as they were: there is no such
  /// device or queue (code ENOENT); as DeviceLife::set_notify().
  Status set_notify(std::string_view id, std::optional<unsigned> queue, NotifyWish wish);
  /// Has a thread run on these CPUs from now on: one of the names that threads() gives. One call at
  /// a time. Errors: there is none of that name (code ENOENT), or the host does not allow the CPUs.
  Status pin_thread(std::string_view name, const CpuList& cpus);
  /// Asks the guest to switch itself off. Any thread.
  ButtonPress press_power_button() noexcept;

  /// Any thread.
  [[nodiscard]] MachineCounters counters() const;
  /// vCPUs, once they have started, and I/O threads. Any thread.
  [[nodiscard]] std::vector<ThreadStats> threads() const;
  /// Where those threads may run. Not beside pin_thread().
  [[nodiscard]] std::vector<ThreadPlacement> placement() const;
  /// Of each queue that has had requests: where their time went since this was called, or
  /// MachineHooks::request_times. Nothing unless that is set.
  [[nodiscard]] std::vector<QueueTimes> take_request_times();
  /// VirtioDevice::host_end() of a device. Empty: there is none of that name.
  [[nodiscard]] std::string host_end(std::string_view id) const;
  /// Kernel thread ids, for CPU-time accounts.
  [[nodiscard]] std::vector<int> vcpu_tids() const;
  [[nodiscard]] std::vector<int> iothread_tids() const;

 private:
  class Impl;
  explicit Machine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace bellhop
