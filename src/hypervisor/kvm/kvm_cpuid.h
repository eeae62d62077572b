#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <span>
#include <vector>

namespace bellhop {

/// Leaves for vCPU `index` of `count`: what the host supports, with the APIC id and a topology of
/// one package whose cores have one thread each. `deadline_timer` offers the TSC deadline timer,
/// which KVM leaves for user space to announce.
std::vector<kvm_cpuid_entry2> make_vcpu_cpuid(std::span<const kvm_cpuid_entry2> supported,
                                              unsigned index, unsigned count, bool deadline_timer);

}  // namespace bellhop
