#include "hypervisor/kvm/vcpu_state.h"

#include <cstddef>
#include <cstring>
#include <vector>

namespace bellhop {
namespace {

// Model-specific registers that a guest sets up and that no other part of the state holds.
constexpr std::array<std::uint32_t, 17> kMsrs{
    0x174,       // SYSENTER_CS
    0x175,       // SYSENTER_ESP
    0x176,       // SYSENTER_EIP
    0x1a0,       // MISC_ENABLE
    0x277,       // PAT
    0x2ff,       // MTRR_DEF_TYPE
    0x6e0,       // TSC_DEADLINE
    0xc0000081,  // STAR
    0xc0000082,  // LSTAR
    0xc0000083,  // CSTAR
    0xc0000084,  // SF_MASK
    0xc0000102,  // KERNEL_GS_BASE
    0xc0000103,  // TSC_AUX
    0x4b564d01,  // KVM: system time
    0x4b564d02,  // KVM: asynchronous page faults
    0x4b564d03,  // KVM: stolen time
    0x4b564d04,  // KVM: end of interrupt
};

// KVM_GET_MSRS or KVM_SET_MSRS for one register, since a batch stops at the first that the host
// does not know. False if it does not know this one.
bool transfer_msr(int fd, unsigned long request, kvm_msr_entry& entry) {
  std::vector<std::byte> list = make_kvm_list(std::span<const kvm_msr_entry>(&entry, 1));
  if (::ioctl(fd, request, list.data()) != 1) return false;
  std::memcpy(&entry, list.data() + sizeof(KvmListHeader), sizeof entry);
  return true;
}

}  // namespace

void write_back_memory_type(int fd) {
  constexpr std::uint32_t kMtrrDefType = 0x2ff;
  constexpr std::uint64_t kEnabled = 1U << 11U;
  constexpr std::uint64_t kWriteBack = 6;
  kvm_msr_entry msr{};
  msr.index = kMtrrDefType;
  msr.data = kEnabled | kWriteBack;
  // A host that does not know the register leaves all memory cached anyway.
  (void)transfer_msr(fd, kvm_request::kSetMsrs, msr);
}

Result<VcpuState> VcpuState::capture(int fd) {
  VcpuState state;
  if (::ioctl(fd, KVM_GET_REGS, &state.regs_) < 0) return fail_errno("KVM_GET_REGS");
  if (::ioctl(fd, KVM_GET_SREGS, &state.sregs_) < 0) return fail_errno("KVM_GET_SREGS");
  if (::ioctl(fd, kvm_request::kGetXsave, state.xsave_.data()) < 0)
    return fail_errno("KVM_GET_XSAVE");
  if (::ioctl(fd, KVM_GET_XCRS, &state.xcrs_) < 0) return fail_errno("KVM_GET_XCRS");
  if (::ioctl(fd, KVM_GET_DEBUGREGS, &state.debugregs_) < 0) return fail_errno("KVM_GET_DEBUGREGS");
  if (::ioctl(fd, KVM_GET_LAPIC, &state.lapic_) < 0) return fail_errno("KVM_GET_LAPIC");
  if (::ioctl(fd, KVM_GET_VCPU_EVENTS, &state.events_) < 0) {
    return fail_errno("KVM_GET_VCPU_EVENTS");
  }
  if (::ioctl(fd, KVM_GET_MP_STATE, &state.mp_state_) < 0) return fail_errno("KVM_GET_MP_STATE");
  for (const std::uint32_t number : kMsrs) {
    kvm_msr_entry msr{};
    msr.index = number;
    if (transfer_msr(fd, kvm_request::kGetMsrs, msr)) state.msrs_[state.msr_count_++] = msr;
  }
  return state;
}

Status VcpuState::restore(int fd) const {
  // KVM takes pointers to non-const and does not write through these.
  VcpuState copy = *this;
  if (::ioctl(fd, KVM_SET_SREGS, &copy.sregs_) < 0) return fail_errno("KVM_SET_SREGS");
  if (::ioctl(fd, KVM_SET_REGS, &copy.regs_) < 0) return fail_errno("KVM_SET_REGS");
  // A host without XSAVE has none, and takes none.
  if (copy.xcrs_.nr_xcrs != 0 && ::ioctl(fd, KVM_SET_XCRS, &copy.xcrs_) < 0) {
    return fail_errno("KVM_SET_XCRS");
  }
  if (::ioctl(fd, kvm_request::kSetXsave, copy.xsave_.data()) < 0)
    return fail_errno("KVM_SET_XSAVE");
  if (::ioctl(fd, KVM_SET_DEBUGREGS, &copy.debugregs_) < 0) return fail_errno("KVM_SET_DEBUGREGS");
  for (std::size_t i = 0; i < msr_count_; ++i) {
    if (!transfer_msr(fd, kvm_request::kSetMsrs, copy.msrs_[i])) return fail_errno("KVM_SET_MSRS");
  }
  if (::ioctl(fd, KVM_SET_LAPIC, &copy.lapic_) < 0) return fail_errno("KVM_SET_LAPIC");
  if (::ioctl(fd, KVM_SET_VCPU_EVENTS, &copy.events_) < 0) return fail_errno("KVM_SET_VCPU_EVENTS");
  if (::ioctl(fd, KVM_SET_MP_STATE, &copy.mp_state_) < 0) return fail_errno("KVM_SET_MP_STATE");
  return {};
}

}  // namespace bellhop
