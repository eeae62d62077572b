#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "hypervisor/hypervisor.h"

namespace bellhop {

/// A vCPU without a guest: run() blocks until the test pushes an exit or someone kicks it.
class FakeVcpu final : public Vcpu {
 public:
  explicit FakeVcpu(unsigned index) : index_(index) {}

  Status set_boot_registers(const BootRegisters& registers) override;
  Status reset() override;
  Result<VcpuExit> run() noexcept override;
  void kick() noexcept override;
  [[nodiscard]] std::uint64_t exits() const noexcept override;
  [[nodiscard]] std::string dump() override;

  /// An exit for run() to return. `data`: the bytes written, or room for those to be read.
  struct ScriptedExit {
    VcpuExit::Reason reason = VcpuExit::Reason::kOther;
    std::uint64_t address = 0;
    std::vector<std::byte> data;
    std::uint64_t detail = 0;
  };
  /// Queues an exit and does not wait. Any thread.
  void push_exit(ScriptedExit exit);
  /// Queues an exit and waits until the VMM has dealt with it, that is, until it calls run() again.
  /// Returns the exit's data as the VMM left it. Not from the thread that runs the vCPU.
  std::vector<std::byte> perform(ScriptedExit exit);

  /// The same, for a machine that may end meanwhile: nothing if it has, with the exit taken back or
  /// half done. `ended` is asked first, after every kick, and now and then.
  std::optional<std::vector<std::byte>> perform_unless(ScriptedExit exit,
                                                       const std::function<bool()>& ended);

  [[nodiscard]] BootRegisters boot_registers() const;
  [[nodiscard]] unsigned resets() const;

 private:
  const unsigned index_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<ScriptedExit> script_;
  ScriptedExit current_;
  bool in_user_space_ = false;  // an exit was returned and run() has not been called since
  bool kicked_ = false;
  std::uint64_t pushed_ = 0;
  std::uint64_t finished_ = 0;
  std::uint64_t exits_ = 0;
  std::uint64_t kicks_ = 0;
  unsigned resets_ = 0;
  std::map<std::uint64_t, std::vector<std::byte>> answers_;  // of perform(), by number of the exit
  BootRegisters registers_;
};

/// A virtual machine without a guest. It keeps KVM's rules for ioeventfds, irqfds and routes, and
/// the test plays the guest's part. All calls from any thread.
class FakeVm final : public Vm {
 public:
  struct IoEvent {
    IoEventMatch match;
    int fd = -1;  ///< the number at the time of attaching
  };
  struct Irqfd {
    unsigned gsi = 0;
    int fd = -1;
  };
  struct Slot {
    std::uint64_t base = 0;
    std::uint64_t size = 0;
  };

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

  /// As a host with room for `count` ioeventfds: the next one gets ENOSPC. Old kernels had six.
  void set_max_ioeventfds(std::size_t count);
  /// As a host that is short of memory: of the next calls that attach or set something, `skip` are
  /// carried out and `count` after them refused. 0: no more.
  void refuse_next(unsigned skip, unsigned count);
  /// The guest writes. True if an ioeventfd took it (and was signalled), false if the write would
  /// exit to user space.
  bool guest_write(IoSpace space, std::uint64_t address, std::span<const std::byte> data);
  bool guest_write(IoSpace space, std::uint64_t address, std::uint64_t value, std::size_t length);

  /// Takes what is pending at the irqfds, as the kernel does the moment they are signalled. Returns
  /// how many interrupts that made; several signals before one call count as one, as in KVM.
  std::size_t deliver_interrupts();
  /// Every MSI so far, from irqfds and from signal_msi(), in the order of delivery. Delivers first.
  std::vector<MsiMessage> delivered();
  std::size_t delivered_count(const MsiMessage& message);
  void clear_delivered();

  [[nodiscard]] std::vector<IoEvent> ioeventfds() const;
  [[nodiscard]] std::vector<Irqfd> irqfds() const;
  [[nodiscard]] std::vector<Slot> slots() const;
  /// Null before map_memory(). The Vm's user owns it.
  [[nodiscard]] const GuestMemory* memory() const;
  [[nodiscard]] std::size_t routes() const;  ///< allocated MSI routes
  [[nodiscard]] std::optional<bool> irq_line(unsigned gsi) const;
  /// Null if there is none. The Vm's user owns it.
  [[nodiscard]] FakeVcpu* vcpu(unsigned index) const;
  [[nodiscard]] unsigned resets() const;
  /// Nothing if it was not set.
  [[nodiscard]] std::optional<std::chrono::nanoseconds> halt_poll() const;

 private:
  // Duplicates, so that a test of closing an fd too early sees what KVM would show.
  struct AttachedEvent {
    IoEvent what;
    EventFd event;
  };
  struct AttachedIrq {
    Irqfd what;
    EventFd event;
  };
  std::size_t deliver_locked();
  /// With mutex_ held. True: this call is one of those to be refused.
  bool refuses();

  mutable std::mutex mutex_;
  std::size_t max_ioeventfds_ = SIZE_MAX;
  unsigned refuse_after_ = 0;
  unsigned refusals_ = 0;
  const GuestMemory* memory_ = nullptr;
  std::vector<AttachedEvent> ioeventfds_;
  std::vector<AttachedIrq> irqfds_;
  std::map<unsigned, std::optional<MsiMessage>> routes_;
  std::vector<MsiMessage> delivered_;
  std::vector<Slot> slots_;
  std::map<unsigned, bool> lines_;
  std::map<unsigned, FakeVcpu*> vcpus_;
  unsigned resets_ = 0;
  std::optional<std::chrono::nanoseconds> halt_poll_;
};

/// A host in memory.
class FakeHypervisor final : public Hypervisor {
 public:
  Result<std::unique_ptr<Vm>> create_vm() override;
  [[nodiscard]] unsigned max_vcpus() const noexcept override { return 8; }

  /// For VMs made from now on.
  void set_max_ioeventfds(std::size_t count) { max_ioeventfds_ = count; }
  /// The VM made last, or null. Its user owns it: do not use it after that.
  [[nodiscard]] FakeVm* vm() const { return vm_; }

 private:
  std::size_t max_ioeventfds_ = SIZE_MAX;
  FakeVm* vm_ = nullptr;
};

}  // namespace bellhop
