#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "hypervisor/hypervisor.h"
#include "memory/guest_memory.h"
#include "probe/machine_code.h"

namespace bellhop {

/// A guest of some hundred bytes that measures what one thing costs, seen from inside: it runs in
/// user mode (CPL 3), as on some hosts kernel mode is interpreted, and times with the TSC. It needs
/// 64 KiB of guest RAM, overwrites them, and works on any vCPU that sees that RAM: the bare one of
/// `bellhop probe`, or one of a whole machine with its doorbells armed.
class FloorGuest {
 public:
  static constexpr std::uint64_t kRamSize = 0x10000;
  static constexpr std::uint16_t kDonePort = 0x5e;  ///< a write to it says that the guest is done
  static constexpr std::uint32_t kMaxWrites = 3072;

  /// What the guest does with the device that it measures.
  struct Writes {
    IoSpace space = IoSpace::kMmio;
    std::uint64_t address = 0;  ///< port or guest-physical; aligned to the width
    unsigned width = 4;         ///< bytes: 1, 2 or 4
    std::uint32_t value = 0;
    std::uint32_t count = 256;  ///< up to kMaxWrites
  };
  enum class Ring : std::uint8_t { kKernel, kUser };
  /// Deals with an exit to user space: data of reads must be filled in.
  using ExitHandler = std::function<void(VcpuExit&)>;

  /// `base`: 4 KiB aligned. Both must outlive the guest. Errors: no such RAM.
  static Result<FloorGuest> create(const GuestMemory& memory, GuestAddress base);

  /// TSC ticks of each write, from before it to after it. The vCPU must be in its state after
  /// power-on or left by this class; the call runs it in the calling thread. Errors: the guest
  /// crashed, the hypervisor failed, or kick() was called.
  Result<std::vector<std::uint32_t>> measure_writes(Vcpu& vcpu, const Writes& writes,
                                                    const ExitHandler& handler);
  /// TSC ticks for `iterations` of an empty loop (two instructions each). Same rules.
  Result<std::uint32_t> measure_loop(Vcpu& vcpu, Ring ring, std::uint32_t iterations);

  /// Makes ready a guest that spins in user mode and counts interrupts of `vector` in its kernel
  /// mode handler, whose first instruction raises interrupts(). Run the vCPU afterwards, in a
  /// thread of its own, until kick().
  Status prepare_interrupts(Vcpu& vcpu, std::uint8_t vector);
  /// True once that guest has enabled interrupts. Any thread.
  [[nodiscard]] bool ready() const noexcept;
  /// Interrupts taken, modulo 2^16. Any thread.
  [[nodiscard]] std::uint16_t interrupts() const noexcept;

 private:
  FloorGuest(GuestSpan ram, GuestAddress base) : ram_(ram), base_(base) {}
  Status load(Vcpu& vcpu, const MachineCode& kernel, const MachineCode& user,
              std::uint64_t device_page, bool interrupts);
  Status run_until_done(Vcpu& vcpu, const ExitHandler& handler);

  GuestSpan ram_;
  GuestAddress base_;
};

}  // namespace bellhop
