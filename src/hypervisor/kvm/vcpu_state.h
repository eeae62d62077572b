#pragma once

#include <array>
#include <cstddef>

#include "base/result.h"
#include "hypervisor/kvm/kvm_abi.h"

namespace bellhop {

/// All of a vCPU's architectural state but its clock: taken when it is fresh, put back at a reset.
class VcpuState {
 public:
  static Result<VcpuState> capture(int vcpu_fd);
  Status restore(int vcpu_fd) const;

  [[nodiscard]] const kvm_sregs& sregs() const noexcept { return sregs_; }

 private:
  static constexpr std::size_t kMsrCount = 17;

  kvm_regs regs_{};
  kvm_sregs sregs_{};
  alignas(8) std::array<std::byte, kKvmXsaveSize> xsave_{};  // kvm_xsave
  kvm_xcrs xcrs_{};
  kvm_debugregs debugregs_{};
  kvm_lapic_state lapic_{};
  kvm_vcpu_events events_{};
  kvm_mp_state mp_state_{};
  // Some hosts do not know every register: those that could be read, as (number, value).
  std::array<kvm_msr_entry, kMsrCount> msrs_{};
  std::size_t msr_count_ = 0;
};

/// As a PC's firmware leaves it: memory without a range register of its own is cached (MTRR default
/// type write-back). Kernels that find the range registers off do not use page attributes either.
void write_back_memory_type(int vcpu_fd);

}  // namespace bellhop
