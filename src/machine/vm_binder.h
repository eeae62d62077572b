#pragma once

#include "hypervisor/hypervisor.h"
#include "transport/host_binder.h"

#include <mutex>
#include <vector>

namespace bellhop {

/// Binds doorbells and interrupts to a VM's ioeventfds and irqfds: the one place that does. Keeps
/// to a limit of ioeventfds, with some reserved for a vhost user, which cannot fall back as a queue
/// can.
class VmBinder final : public HostBinder {
 public:
  /// `max_ioeventfds` 0: as many as the host allows.
  VmBinder(Vm& vm, unsigned max_ioeventfds, unsigned reserved) noexcept
      : vm_(vm), max_(max_ioeventfds), reserved_(reserved) {}

  Status attach_doorbell(const EventFd& doorbell, const IoEventMatch& match,
                         Server server) override;
  void detach_doorbell(const EventFd& doorbell, const IoEventMatch& match) noexcept override;
  Result<unsigned> allocate_msi() override { return vm_.allocate_msi_route(); }
  Status set_msi(unsigned gsi, std::uint64_t address, std::uint32_t data) override {
    return vm_.set_msi_route(gsi, {address, data});
  }
  void free_msi(unsigned gsi) noexcept override { vm_.free_msi_route(gsi); }
  Status attach_interrupt(const EventFd& event, unsigned gsi) override {
    return vm_.attach_irqfd(event, gsi);
  }
  void detach_interrupt(const EventFd& event, unsigned gsi) noexcept override {
    (void)vm_.detach_irqfd(event, gsi);
  }

 private:
  Vm& vm_;
  const unsigned max_;
  const unsigned reserved_;
  std::mutex mutex_;
  unsigned attached_ = 0;
  std::vector<const EventFd*> required_;  ///< of these, for queues that cannot do without
};

}  // namespace bellhop
