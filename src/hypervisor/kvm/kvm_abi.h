#pragma once

#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace bellhop {

// The kernel's header wraps arrays without a size in a struct with an empty member. That member
// takes no room in C and a byte in C++, so in C++ kvm_cpuid2, kvm_msrs, kvm_irq_routing and
// kvm_xsave are too large, and so are the request numbers made from their sizes. These are right.

/// What kvm_cpuid2, kvm_msrs and kvm_irq_routing begin with.
struct KvmListHeader {
  std::uint32_t count = 0;
  std::uint32_t reserved = 0;
};
inline constexpr std::size_t kKvmXsaveSize = 4096;

namespace kvm_request {
constexpr unsigned long make(unsigned direction, unsigned number, std::size_t size) {
  return _IOC(direction, KVMIO, number, static_cast<unsigned>(size));
}
constexpr std::size_t kList = sizeof(KvmListHeader);
inline constexpr unsigned long kGetSupportedCpuid = make(_IOC_READ | _IOC_WRITE, 0x05, kList);
inline constexpr unsigned long kSetGsiRouting = make(_IOC_WRITE, 0x6a, kList);
inline constexpr unsigned long kGetMsrs = make(_IOC_READ | _IOC_WRITE, 0x88, kList);
inline constexpr unsigned long kSetMsrs = make(_IOC_WRITE, 0x89, kList);
inline constexpr unsigned long kSetCpuid2 = make(_IOC_WRITE, 0x90, kList);
inline constexpr unsigned long kGetXsave = make(_IOC_READ, 0xa4, kKvmXsaveSize);
inline constexpr unsigned long kSetXsave = make(_IOC_WRITE, 0xa5, kKvmXsaveSize);
}  // namespace kvm_request

/// A header and its entries as one block of bytes.
template <class Entry>
std::vector<std::byte> make_kvm_list(std::span<const Entry> entries) {
  std::vector<std::byte> list(sizeof(KvmListHeader) + entries.size_bytes());
  const KvmListHeader header{static_cast<std::uint32_t>(entries.size()), 0};
  std::memcpy(list.data(), &header, sizeof header);
  if (!entries.empty()) {
    std::memcpy(list.data() + sizeof header, entries.data(), entries.size_bytes());
  }
  return list;
}

}  // namespace bellhop
