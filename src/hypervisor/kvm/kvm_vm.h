#pragma once

#include <linux/kvm.h>

#include <array>
#include <memory>
#include <mutex>

#include "base/unique_fd.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/kvm/kvm_system.h"
#include "hypervisor/kvm/msi_routes.h"

namespace bellhop {

/// One KVM virtual machine with the in-kernel PIC, IOAPIC, LAPICs and PIT.
class KvmVm final : public Vm {
 public:
  static Result<std::unique_ptr<KvmVm>> create(std::shared_ptr<const KvmSystem> system);

  Status map_memory(const GuestMemory& memory) override;
  Result<std::unique_ptr<Vcpu>> create_vcpu(unsigned index, unsigned count) override;
  Status attach_ioeventfd(const EventFd& event, const IoEventMatch& match) override;
  Status detach_ioeventfd(const EventFd& event, const IoEventMatch& match) override;
  Result<unsigned> allocate_msi_route() override;
  Status set_msi_route(unsigned gsi, const MsiMessage& message) override;
  void free_msi_route(unsigned gsi) override;
  Status attach_irqfd(const EventFd& event, unsigned gsi) override;
  Status detach_irqfd(const EventFd& event, unsigned gsi) override;
  Status signal_msi(const MsiMessage& message) override;
  Status set_irq_line(unsigned gsi, bool level) override;
  Status set_halt_poll(std::chrono::nanoseconds most) override;
  Status reset() override;

 private:
  explicit KvmVm(std::shared_ptr<const KvmSystem> system);
  Status set_up_chips();
  Status update_ioeventfd(const EventFd& event, const IoEventMatch& match, std::uint32_t flags);

  std::shared_ptr<const KvmSystem> system_;
  UniqueFd fd_;
  const GuestMemory* memory_ = nullptr;
  std::array<kvm_irqchip, 3> chips_at_power_on_{};
  kvm_pit_state2 pit_at_power_on_{};
  std::mutex mutex_;  // routes_ and the order in which tables reach the kernel
  MsiRoutes routes_;
};

}  // namespace bellhop
