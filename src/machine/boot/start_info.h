#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "machine/boot/memory_map.h"
#include "memory/guest_memory.h"

namespace bellhop {

/// What a PVH kernel is told. Addresses are guest-physical, sizes in bytes.
struct StartInfoContent {
  std::string cmdline;
  AddressRange module;  ///< the initrd; none if its size is 0
  std::uint64_t rsdp = 0;
  std::vector<AddressRange> reserved;
};

/// Writes hvm_start_info version 1, its memory map, module list and command line into the room that
/// pvh_loader.h names, and returns its address. Errors: more than that room holds, or no RAM there.
Result<GuestAddress> write_start_info(const GuestMemory& memory, const StartInfoContent& content);

}  // namespace bellhop
