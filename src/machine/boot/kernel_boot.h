#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "hypervisor/hypervisor.h"
#include "machine/boot/boot_file.h"
#include "machine/boot/memory_map.h"
#include "memory/guest_memory.h"

namespace bellhop {

/// Bytes without the closing zero. Linux takes no more and drops the rest without a word; its
/// bzImage says how many it takes itself, a PVH kernel does not.
inline constexpr std::size_t kMaxCommandLine = 2047;

/// What a machine boots, and what its kernel must be told.
struct KernelBoot {
  std::string kernel;  ///< path of a bzImage or of an ELF file with a PVH entry
  std::string initrd;  ///< path, or empty for none
  std::string cmdline;
  /// What messages call these: the options, and where they were written.
  std::string kernel_option = "--kernel";
  std::string initrd_option = "--initrd";
  std::string cmdline_option = "--cmdline";
  /// Guest-physical address of the ACPI root pointer, if there is one.
  std::optional<GuestAddress> rsdp;
  /// Parts of the address space that are neither RAM nor free, such as the PCI configuration
  /// window.
  std::vector<AddressRange> reserved;
};

/// Puts the kernel, the initrd and what the kernel's boot protocol wants to be told into guest RAM,
/// and returns the registers to start from. May be called again, for a reset. Errors name the
/// option and the file: it cannot be read, is of no known kind, is damaged, or does not fit.
Result<BootRegisters> load_kernel(const GuestMemory& memory, const KernelBoot& boot);

/// The same from bytes that are there already; `boot`'s paths are used in messages only. No initrd
/// if empty.
Result<BootRegisters> load_kernel_image(const GuestMemory& memory, const KernelBoot& boot,
                                        const BootBytes& kernel, const BootBytes& initrd);
inline Result<BootRegisters> load_kernel_image(const GuestMemory& memory, const KernelBoot& boot,
                                               std::span<const std::byte> kernel,
                                               std::span<const std::byte> initrd) {
  return load_kernel_image(memory, boot, BytesInMemory(kernel), BytesInMemory(initrd));
}

/// Whether the file holds a Linux kernel, as stock distributions have it: a bzImage, or an ELF file
/// with Linux' banner. False too if it cannot be read. Reads all of it.
bool is_linux_kernel(const std::string& path);

/// Where an initrd of `size` bytes goes: as high as can be in the RAM below `limit` (exclusive) and
/// below the hole, and not below `kernel_end`; Linux takes the room right behind itself for early
/// page tables. Errors: no room.
Result<GuestAddress> place_initrd(const GuestMemory& memory, const KernelBoot& boot,
                                  std::uint64_t size, std::uint64_t kernel_end,
                                  std::uint64_t limit);
/// Copies it there. Errors: it cannot be read; it does not fit.
Status put_initrd(const GuestMemory& memory, const KernelBoot& boot, const BootBytes& initrd,
                  GuestAddress where);

}  // namespace bellhop
