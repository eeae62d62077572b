#pragma once

#include <linux/kvm.h>
#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <span>

#include "base/unique_fd.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/kvm/vcpu_state.h"

namespace bellhop {

/// One KVM vCPU and the page that it shares with the kernel.
class KvmVcpu final : public Vcpu {
 public:
  /// `run_size`: KvmSystem::run_size(). `memory` (for dump() only) may be null.
  static Result<std::unique_ptr<KvmVcpu>> create(UniqueFd fd, std::size_t run_size, unsigned index,
                                                 std::span<const kvm_cpuid_entry2> cpuid,
                                                 const GuestMemory* memory);
  KvmVcpu(const KvmVcpu&) = delete;
  KvmVcpu& operator=(const KvmVcpu&) = delete;
  ~KvmVcpu() override;

  Status set_boot_registers(const BootRegisters& registers) override;
  Status reset() override;
  Result<VcpuExit> run() noexcept override;
  void kick() noexcept override;
  [[nodiscard]] std::uint64_t exits() const noexcept override {
    return exits_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] Result<std::uint64_t> time_stamp_offset() override;
  [[nodiscard]] std::string dump() override;

 private:
  KvmVcpu(UniqueFd fd, unsigned index, const GuestMemory* memory);
  void note_thread() noexcept;
  bool take_kick() noexcept;
  Status finish_io();
  VcpuExit next_pio_element() noexcept;
  Result<VcpuExit> decode() noexcept;

  UniqueFd fd_;
  unsigned index_;
  const GuestMemory* memory_;
  kvm_run* run_ = nullptr;
  std::size_t run_size_ = 0;
  VcpuState power_on_;
  std::uint32_t pio_done_ = 0;  // elements of a string instruction handed out so far
  std::uint32_t pio_count_ = 0;
  bool io_pending_ = false;  // the last exit was for I/O, which KVM finishes at the next KVM_RUN
  std::atomic<std::uint64_t> exits_ = 0;  // written by the running thread only
  std::atomic<pid_t> thread_ = 0;
  std::atomic<bool> kicked_ = false;
};

}  // namespace bellhop
