#pragma once

#include <memory>
#include <optional>

#include "base/cpu_list.h"
#include "base/result.h"
#include "hypervisor/hypervisor.h"
#include "memory/guest_memory.h"
#include "probe/floor_guest.h"

namespace bellhop::bench {

/// A VM with one vCPU and nothing else: the floor under every notification.
class BareMachine {
 public:
  enum class Kick {
    kExit,       ///< to user space, which does nothing
    kEvent,      ///< an ioeventfd that nobody waits for
    kWaitedFor,  ///< an ioeventfd whose signals a thread reads as they come
  };

  /// The calling thread runs the vCPU on `vcpu_cpus`; a waiter runs on `waiter_cpus`.
  static Result<std::unique_ptr<BareMachine>> create(Hypervisor& hypervisor, CpuList vcpu_cpus,
                                                     CpuList waiter_cpus);
  /// Median microseconds of `count` 16-bit MMIO writes, as the guest sees them.
  Result<double> measure(Kick kick, unsigned count);

 private:
  BareMachine(CpuList vcpu_cpus, CpuList waiter_cpus)
      : vcpu_cpus_(std::move(vcpu_cpus)), waiter_cpus_(std::move(waiter_cpus)) {}
  Result<double> measure_here(Kick kick, unsigned count);

  CpuList vcpu_cpus_;
  CpuList waiter_cpus_;
  std::optional<GuestMemory> memory_;
  std::unique_ptr<Vm> vm_;
  std::unique_ptr<Vcpu> vcpu_;
  std::optional<FloorGuest> guest_;
  EventFd event_;
};

}  // namespace bellhop::bench
