#pragma once

#include <cstddef>
#include <span>

#include "base/result.h"
#include "hypervisor/hypervisor.h"
#include "machine/boot/kernel_boot.h"
#include "memory/guest_memory.h"

namespace bellhop {

/// Whether the bytes begin as a Linux bzImage does: boot sector signature and "HdrS".
bool is_bzimage(std::span<const std::byte> file) noexcept;

/// Puts a Linux kernel into guest RAM by the 64-bit boot protocol (Linux,
/// Documentation/arch/x86/boot.rst, "64-bit Boot Protocol"): the boot parameters with the memory
/// map, the command line, page tables that map the first 4 GiB as they are, the kernel where it
/// prefers to be, and the initrd. load_kernel_image() for such a file; its bytes may be anything.
/// Errors: cut short, without a 64-bit entry (older than 3.8, or for 32 bits), more than RAM holds.
Result<BootRegisters> load_bzimage(const GuestMemory& memory, const KernelBoot& boot,
                                   const BootBytes& kernel, const BootBytes& initrd);

}  // namespace bellhop
