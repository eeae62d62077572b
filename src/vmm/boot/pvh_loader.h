#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "hypervisor/hypervisor.h"
#include "memory/guest_memory.h"

namespace bellhop {

/// Where the loader puts what it tells the kernel: below the legacy hole, above the first page.
inline constexpr std::uint64_t kPvhInfoBegin = 0x1000;
inline constexpr std::uint64_t kPvhInfoEnd = 0x8000;
/// Bytes without the closing zero. Linux takes no more and drops the rest without a word.
inline constexpr std::size_t kMaxCommandLine = 2047;

struct PvhBoot {
  std::string kernel;  ///< path of an ELF file
  std::string initrd;  ///< path, or empty for none
  std::string cmdline;
  /// Guest-physical address of the ACPI root pointer, if there is one.
  std::optional<GuestAddress> rsdp;
  /// Parts of the address space that are neither RAM nor free, such as the PCI configuration
  /// window.
  struct Reserved {
    GuestAddress base;
    std::uint64_t size = 0;
  };
  std::vector<Reserved> reserved;
};

/// Puts the kernel, the initrd and hvm_start_info (version 1, with a memory map) into guest RAM and
/// returns the registers to start from. May be called again, for a reset.
/// Errors name the file: it cannot be read, is no PVH kernel, is damaged, or does not fit.
Result<BootRegisters> load_pvh(const GuestMemory& memory, const PvhBoot& boot);

/// The same from bytes in memory; `boot`'s paths are used in messages only. No initrd if empty.
Result<BootRegisters> load_pvh_image(const GuestMemory& memory, const PvhBoot& boot,
                                     std::span<const std::byte> kernel,
                                     std::span<const std::byte> initrd);

}  // namespace bellhop
