#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "machine/boot/boot_file.h"

namespace bellhop {

/// What the boot needs of an ELF file: which bytes go where, and where to begin.
struct ElfImage {
  struct Segment {
    std::uint64_t file_offset = 0;
    std::uint64_t file_size = 0;
    std::uint64_t address = 0;      ///< guest-physical
    std::uint64_t memory_size = 0;  ///< what exceeds file_size is zero
  };
  std::vector<Segment> segments;  ///< ascending, not overlapping, within the file
  std::uint32_t pvh_entry = 0;    ///< guest-physical, within a segment
};

/// Parses an x86 ELF file, 32 or 64 bits wide, with the note XEN_ELFNOTE_PHYS32_ENTRY that makes it
/// a PVH kernel. The bytes may be anything. Errors: what is wrong with them, to be put after the
/// name of the file.
Result<ElfImage> parse_pvh_elf(const BootBytes& file);

}  // namespace bellhop
