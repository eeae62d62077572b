#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "virtio/device/virtio_device.h"

namespace bellhop {

/// What one device has counted.
struct DeviceStats {
  std::string id;
  std::vector<DeviceStat> stats;
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
  std::uint64_t system_calls = 0;    ///< of the I/O threads' loops, and of back ends for queues
  std::vector<DeviceStats> devices;  ///< its queues' stats, then what it counts itself
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
