#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "hypervisor/hypervisor.h"
#include "machine/boot/kernel_boot.h"
#include "memory/guest_memory.h"

namespace bellhop {

/// Where the loader puts what it tells the kernel: below the legacy hole, above the first page.
inline constexpr std::uint64_t kPvhInfoBegin = 0x1000;
inline constexpr std::uint64_t kPvhInfoEnd = 0x8000;
/// Puts an ELF kernel with a PVH entry, the initrd and hvm_start_info (version 1, with a memory
/// map) into guest RAM: load_kernel_image() for such a file.
Result<BootRegisters> load_pvh_image(const GuestMemory& memory, const KernelBoot& boot,
                                     const BootBytes& kernel, const BootBytes& initrd);

}  // namespace bellhop
