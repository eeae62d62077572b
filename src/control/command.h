#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/property_list.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "config/machine_config.h"
#include "config/machine_options.h"
#include "machine/machine_counters.h"
#include "machine/thread_placement.h"

namespace bellhop::control {

/// What can be asked of a machine while it lives, whoever asks.
struct Ping {};
struct GetInfo {};
struct GetCounters {};
/// For looking at it again and again.
struct GetMetrics {
  enum class Format : std::uint8_t { kJson, kPrometheus } format = Format::kJson;
};
struct PressPowerButton {};
struct Boot {};  ///< on after a PowerOff
struct Pause {};
struct Resume {};
struct Reboot {};
struct PowerOff {};    ///< as if its power was cut; it may be booted again
struct EndProcess {};  ///< the same, and the program that runs it ends
struct ResizeDisk {
  std::string id;
  std::uint64_t bytes = 0;
};
/// Other rates of a disk or a NIC from now on. What is not named stays.
struct SetRates {
  std::string id;
  PropertyList properties;  ///< change_rates()
};
/// The queues of a device, or one of them, are notified in another way from now on.
struct SetNotify {
  std::string id;
  std::optional<unsigned> queue = {};  ///< nothing: all of them
  NotifyWish wish = {};
  bool optimize_given = true;  ///< else what adaptive is to look at is as the machine has it
};
/// A vCPU's or an I/O thread's CPUs.
struct PinThread {
  std::string name;  ///< "vcpu0", or an I/O thread's
  std::string cpus;  ///< "0,2-3"
};
/// Only what differs from what the machine has is changed.
struct Resize {
  std::optional<std::uint64_t> vcpus = {};
  std::optional<std::uint64_t> memory_bytes = {};
  std::optional<std::uint64_t> balloon_bytes = {};  ///< that the guest is asked to give back
};

/// A machine, in a program that has none: it has power on after a Boot.
struct CreateMachine {
  MachineOptions options;
};
/// Takes the machine away that was created so; it is cut off from its power first.
struct DeleteMachine {};
/// One more device, while the machine lives.
struct AddDevice {
  std::string kind;         ///< "disk": DeviceOption::name
  PropertyList properties;  ///< as its option has them, but for fd=
  /// What fd= would name: descriptors that came with the request.
  std::vector<std::shared_ptr<UniqueFd>> fds = {};
};
/// Asks the guest to let a device go; it is gone some time after. At once where there is no guest.
struct RemoveDevice {
  std::string id;
};

using Command =
    std::variant<Ping, GetInfo, GetCounters, GetMetrics, PressPowerButton, Boot, Pause, Resume,
                 Reboot, PowerOff, EndProcess, ResizeDisk, SetRates, SetNotify, PinThread, Resize,
                 AddDevice, RemoveDevice, CreateMachine, DeleteMachine>;

enum class MachineState : std::uint8_t {
  kNone,     ///< there is no machine
  kCreated,  ///< its first start is to come
  kRunning,
  kPaused,
  kOff,  ///< after a PowerOff
};

/// Where the guest's serial port goes: the program's own business, told by whoever makes the
/// machine.
struct SerialPort {
  enum class Mode : std::uint8_t { kNull, kTty, kFile, kPty };
  Mode mode = Mode::kNull;
  std::string file = {};  ///< the file's path, or where the pseudo terminal is
};

struct MachineInfo {
  MachineState state = MachineState::kCreated;
  std::shared_ptr<const MachineConfig> config;  ///< with what it has been given since its start
  std::uint64_t memory_bytes = 0;               ///< without what is in the balloon
  std::vector<QueueStats> queues;               ///< how they are notified
  std::vector<ThreadPlacement> threads = {};    ///< where they may run
  std::string console = {};                     ///< where the first console's end is
  SerialPort serial = {};
};

struct MachineMetrics {
  MachineState state = MachineState::kCreated;
  std::chrono::nanoseconds when{0};  ///< of the host's monotonic clock
  std::uint64_t memory_bytes = 0;    ///< without what is in the balloon
  MachineCounters counters;
  std::vector<ThreadStats> threads;
};

struct AddedDevice {
  std::string id;
  std::string bdf;  ///< its place on the bus: "0000:00:05.0"
};

/// Nothing but "done" for most commands.
using Answer =
    std::variant<std::monostate, MachineInfo, MachineCounters, MachineMetrics, AddedDevice>;

// Errors of commands have one of these codes, or that of what the host refused:
//   EINVAL   a value is out of range, ENOENT  there is no such device, ENOTSUP  it cannot do that
//   EBUSY    not in this state, or the guest does not listen
//   ESHUTDOWN  the machine has come to its end

}  // namespace bellhop::control
