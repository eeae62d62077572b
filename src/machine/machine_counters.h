#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "virtio/device/virtio_device.h"
#include "virtio/queue/notify_choice.h"
#include "virtio/queue/notify_mode.h"
#include "virtio/queue/server.h"
#include "virtio/ring/queue_counters.h"

namespace bellhop {

/// What one device has counted.
struct DeviceStats {
  std::string id;
  std::vector<DeviceStat> stats;
};

/// What one queue has counted, and how it is served now.
struct QueueStats {
  std::string device;  ///< its id
  unsigned queue = 0;
  bool running = false;
  Server server = Server::kDevice;
  NotifyMode notify = NotifyMode::kIoEventFd;  ///< never kAdaptive
  NotifyWish wish = {};                        ///< what was asked for
  std::uint64_t kicks = 0;
  std::uint64_t kicks_by_exit = 0;
  std::uint64_t spurious_kicks = 0;
  std::uint64_t chains = 0;
  std::uint64_t completions = 0;
  std::uint64_t batches = 0;
  std::uint64_t interrupts = 0;
  std::uint64_t interrupts_saved = 0;
  std::uint64_t system_calls = 0;
  std::uint64_t bad_chains = 0;
  std::uint64_t broken = 0;
};

/// A queue's counts: their names, where they are counted, and what they mean.
struct QueueCount {
  const char* name;
  std::uint64_t QueueStats::*value;
  RelaxedCounter QueueCounters::*counter;
  const char* meaning;
};
inline constexpr QueueCount kQueueCounts[] = {
    {"kicks", &QueueStats::kicks, &QueueCounters::kicks, "Notifications by the driver."},
    {"kicks_by_exit", &QueueStats::kicks_by_exit, &QueueCounters::kicks_by_exit,
     "Notifications that came as a vCPU exit."},
    {"spurious_kicks", &QueueStats::spurious_kicks, &QueueCounters::spurious_kicks,
     "Notifications that found the ring empty."},
    {"chains", &QueueStats::chains, &QueueCounters::chains, "Requests taken from the ring."},
    {"completions", &QueueStats::completions, &QueueCounters::completions,
     "Requests given back to the driver."},
    {"batches", &QueueStats::batches, &QueueCounters::batches, "Publications of the used index."},
    {"interrupts", &QueueStats::interrupts, &QueueCounters::interrupts, "Interrupts of the guest."},
    {"interrupts_saved", &QueueStats::interrupts_saved, &QueueCounters::interrupts_saved,
     "Publications of which the driver did not want to hear."},
    {"system_calls", &QueueStats::system_calls, &QueueCounters::system_calls,
     "System calls of the queue's back end."},
    {"bad_chains", &QueueStats::bad_chains, &QueueCounters::bad_chains,
     "Faults of the driver confined to one request."},
    {"broken", &QueueStats::broken, &QueueCounters::broken,
     "Faults of the driver that stopped the queue until a reset."},
};

/// Counts of a machine, summed over queues and vCPUs, at one moment.
struct MachineCounters {
  std::uint64_t userspace_exits = 0;
  std::uint64_t kicks = 0;
  std::uint64_t kicks_by_exit = 0;  ///< of the kicks; the others came by an eventfd
  std::uint64_t spurious_kicks = 0;
  std::uint64_t interrupts = 0;
  std::uint64_t interrupts_saved = 0;
  std::uint64_t chains = 0;
  std::uint64_t batches = 0;
  std::uint64_t bad_chains = 0;
  std::uint64_t broken_queues = 0;
  std::uint64_t system_calls = 0;  ///< of the I/O threads' loops, and of back ends for queues
  /// Of each its queues' stats, then what it counts itself; then groups of rates.
  std::vector<DeviceStats> devices;
  std::vector<QueueStats> queues;  ///< of each device in turn
};

/// A thread of a machine, by its name in the kernel, and the CPU time that it has used.
struct ThreadStats {
  std::string name;
  int tid = 0;
  bool is_vcpu = false;  ///< otherwise an I/O thread
  std::chrono::nanoseconds cpu{0};
};

/// The counts of a machine as a whole, and what results call them.
inline constexpr std::pair<const char*, std::uint64_t MachineCounters::*> kMachineCounts[] = {
    {"userspace_exits", &MachineCounters::userspace_exits},
    {"kicks", &MachineCounters::kicks},
    {"kicks_by_exit", &MachineCounters::kicks_by_exit},
    {"spurious_kicks", &MachineCounters::spurious_kicks},
    {"interrupts", &MachineCounters::interrupts},
    {"interrupts_saved", &MachineCounters::interrupts_saved},
    {"chains", &MachineCounters::chains},
    {"batches", &MachineCounters::batches},
    {"bad_chains", &MachineCounters::bad_chains},
    {"broken_queues", &MachineCounters::broken_queues},
    {"system_calls", &MachineCounters::system_calls},
};

}  // namespace bellhop
