#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "bus/io_event_match.h"
#include "memory/guest_memory.h"

namespace bellhop {

/// Guest-physical pages that a host on Intel needs to run real mode; other hosts leave them alone.
/// Neither RAM nor a device may lie there.
inline constexpr std::uint64_t kHostPagesBegin = 0xfffb'c000;
inline constexpr std::uint64_t kHostPagesEnd = 0xfffc'0000;

/// One message-signalled interrupt as a PCI function holds it.
struct MsiMessage {
  std::uint64_t address = 0;
  std::uint32_t data = 0;
  friend bool operator==(const MsiMessage&, const MsiMessage&) = default;
};

/// Why a vCPU came back to user space.
struct VcpuExit {
  enum class Reason : std::uint8_t {
    kPioIn,
    kPioOut,
    kMmioRead,
    kMmioWrite,
    kInterrupted,    ///< kick()
    kShutdown,       ///< triple fault
    kHalt,           ///< only without an in-kernel irqchip
    kSystemEvent,    ///< reset or power off asked for through the hypervisor
    kRefused,        ///< never of run(), whose error says it
    kInternalError,  ///< the hypervisor cannot go on with this vCPU; see dump()
    kOther,          ///< `detail` holds the raw number
  };
  Reason reason = Reason::kOther;
  std::uint64_t address = 0;  ///< port or guest-physical address
  /// The bytes written, or room for the bytes to be read: one access of 1, 2, 4 or 8 bytes (string
  /// instructions come as one exit for each element). Valid until the next run().
  std::span<std::byte> data;
  std::uint64_t detail = 0;
};

/// Registers to start from. All others are as after a reset.
struct BootRegisters {
  enum class Mode : std::uint8_t {
    kProtected32Flat,  ///< PVH: no paging, flat 4 GiB segments, interrupts off
    /// CPL 0 with paging on, interrupts off. The descriptor table must hold a 64-bit code segment,
    /// a data segment and a 64-bit TSS at the selectors below.
    kLong64,
  };
  struct Table {
    std::uint64_t base = 0;
    std::uint16_t limit = 0;
  };
  std::uint64_t rip = 0;
  std::uint64_t rbx = 0;  ///< PVH: address of hvm_start_info
  std::uint64_t rsi = 0;  ///< bzImage: address of boot_params
  std::uint64_t rdi = 0;
  std::uint64_t rsp = 0;
  Mode mode = Mode::kProtected32Flat;
  /// kLong64 only: page table root (physical), tables and TSS (linear).
  std::uint64_t cr3 = 0;
  Table gdt;
  Table idt;
  Table tss;
  std::uint16_t code_selector = 0x08;
  std::uint16_t data_selector = 0x10;
  std::uint16_t task_selector = 0x28;
};

/// One virtual CPU. run() and set_*() belong to the thread that runs it; kick() to any.
class Vcpu {
 public:
  virtual ~Vcpu() = default;
  virtual Status set_boot_registers(const BootRegisters& registers) = 0;
  /// Back to the state after power-on (a reset of the machine).
  virtual Status reset() = 0;
  /// Runs guest code until something needs user space. Data of a kPioIn or kMmioRead exit must be
  /// filled in before the next call.
  virtual Result<VcpuExit> run() noexcept = 0;
  /// Makes run() return kInterrupted, now or at its next call, exactly once. Any thread.
  virtual void kick() noexcept = 0;
  /// How often run() came back with something for user space to do; kicks are not counted. Any
  /// thread.
  [[nodiscard]] virtual std::uint64_t exits() const noexcept = 0;
  /// How far its time-stamp counter is ahead of the host's, modulo 2^64. Errors: the host does not
  /// say it.
  [[nodiscard]] virtual Result<std::uint64_t> time_stamp_offset() {
    return fail("this hypervisor does not say how a vCPU's time-stamp counter is set");
  }
  /// Registers and instruction bytes, for a person to read.
  [[nodiscard]] virtual std::string dump() = 0;
};

/// One virtual machine. All calls are control path; any thread.
class Vm {
 public:
  virtual ~Vm() = default;
  /// Maps every region of `memory` as slots from 0 on. The memory must outlive the VM.
  virtual Status map_memory(const GuestMemory& memory) = 0;
  virtual Result<std::unique_ptr<Vcpu>> create_vcpu(unsigned index, unsigned count) = 0;

  /// Errors: the host has no room for another (ENOSPC on old kernels after six), or a match like it
  /// is there already (EEXIST).
  virtual Status attach_ioeventfd(const EventFd& event, const IoEventMatch& match) = 0;
  virtual Status detach_ioeventfd(const EventFd& event, const IoEventMatch& match) = 0;

  /// Message-signalled interrupts: a route is a GSI number that stands for one MSI message.
  virtual Result<unsigned> allocate_msi_route() = 0;
  virtual Status set_msi_route(unsigned gsi, const MsiMessage& message) = 0;
  virtual void free_msi_route(unsigned gsi) = 0;
  /// Signals of `event` raise `gsi`. Attach after the route is set; mask by detaching.
  virtual Status attach_irqfd(const EventFd& event, unsigned gsi) = 0;
  virtual Status detach_irqfd(const EventFd& event, unsigned gsi) = 0;
  virtual Status signal_msi(const MsiMessage& message) = 0;
  /// A pin of the in-kernel IOAPIC/PIC.
  virtual Status set_irq_line(unsigned gsi, bool level) = 0;
  /// How long a vCPU that halts is waited for, at most, before its thread sleeps; 0: not at all.
  /// Before, and without it, as the host has it for all VMs. Errors: the host does not let one VM
  /// have its own.
  virtual Status set_halt_poll(std::chrono::nanoseconds /*most*/) {
    return fail("this hypervisor polls no halted vCPU");
  }
  /// Interrupt controllers and timer back to the state after power-on. ioeventfds, routes and
  /// irqfds stay. Call while no vCPU runs.
  virtual Status reset() = 0;
};

/// The host's hypervisor, behind an interface so that a test can be a host that refuses the seventh
/// ioeventfd.
class Hypervisor {
 public:
  virtual ~Hypervisor() = default;
  virtual Result<std::unique_ptr<Vm>> create_vm() = 0;
  [[nodiscard]] virtual unsigned max_vcpus() const noexcept = 0;
};

/// /dev/kvm. Errors say what is wrong: the device is missing, no rights, an old API, and which
/// capability is missing.
Result<std::unique_ptr<Hypervisor>> open_kvm();

}  // namespace bellhop
