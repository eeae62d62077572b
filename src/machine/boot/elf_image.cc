#include "machine/boot/elf_image.h"

#include <elf.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>

namespace bellhop {
namespace {

using Bytes = std::span<const std::byte>;

constexpr std::uint32_t kNotePhys32Entry = 18;  // XEN_ELFNOTE_PHYS32_ENTRY
constexpr std::string_view kNoteOwner("Xen\0", 4);
// Linux has about five; a table of thousands is not a kernel.
constexpr std::size_t kMaxHeaders = 256;
// Linux has half a kilobyte of them.
constexpr std::uint64_t kMaxNoteBytes = 1U << 20U;

struct Elf32 {
  using Header = Elf32_Ehdr;
  using ProgramHeader = Elf32_Phdr;
};
struct Elf64 {
  using Header = Elf64_Ehdr;
  using ProgramHeader = Elf64_Phdr;
};

std::optional<Bytes> part(Bytes bytes, std::uint64_t offset, std::uint64_t length) {
  if (offset > bytes.size() || length > bytes.size() - offset) return std::nullopt;
  return bytes.subspan(offset, length);
}

template <class T>
bool load(Bytes bytes, std::uint64_t offset, T& value) {
  const auto from = part(bytes, offset, sizeof(T));
  if (!from) return false;
  std::memcpy(&value, from->data(), sizeof(T));
  return true;
}

std::uint64_t round_up(std::uint64_t value, std::uint64_t to) { return (value + to - 1) / to * to; }

// The entry point in a segment of notes, if it is there. Sizes in notes are 32 bits wide, so none
// of these sums can wrap.
std::optional<std::uint64_t> find_entry_note(Bytes notes, std::uint64_t alignment) {
  std::uint64_t offset = 0;
  Elf64_Nhdr note{};  // the same as Elf32_Nhdr
  while (load(notes, offset, note)) {
    const std::uint64_t name_at = offset + sizeof note;
    const std::uint64_t value_at = round_up(name_at + note.n_namesz, alignment);
    const auto name = part(notes, name_at, note.n_namesz);
    const auto value = part(notes, value_at, note.n_descsz);
    if (!name || !value) return std::nullopt;
    if (note.n_type == kNotePhys32Entry && name->size() == kNoteOwner.size() &&
        std::memcmp(name->data(), kNoteOwner.data(), kNoteOwner.size()) == 0) {
      std::uint64_t entry = 0;
      if (value->size() != 4 && value->size() != 8) return std::nullopt;
      std::memcpy(&entry, value->data(), value->size());
      return entry;
    }
    offset = round_up(value_at + note.n_descsz, alignment);
  }
  return std::nullopt;
}

Status add_segment(ElfImage& image, const BootBytes& file, const ElfImage::Segment& segment) {
  if (segment.memory_size == 0 && segment.file_size == 0) return {};
  if (!file.holds(segment.file_offset, segment.file_size)) {
    return fail(fmt::format("is cut short: a segment of {} bytes at offset {} goes past its end",
                            segment.file_size, segment.file_offset));
  }
  if (segment.file_size > segment.memory_size) {
    return fail(fmt::format("has a segment of {} bytes for {} bytes of memory", segment.file_size,
                            segment.memory_size));
  }
  if (segment.address + segment.memory_size < segment.address) {
    return fail(
        fmt::format("has a segment at {:#x} that wraps around the address space", segment.address));
  }
  image.segments.push_back(segment);
  return {};
}

Status check_segments(ElfImage& image) {
  if (image.segments.empty()) return fail("has nothing to load");
  std::ranges::sort(image.segments, {}, &ElfImage::Segment::address);
  for (std::size_t i = 1; i < image.segments.size(); ++i) {
    const ElfImage::Segment& before = image.segments[i - 1];
    if (before.address + before.memory_size > image.segments[i].address) {
      return fail(fmt::format("has segments that overlap at {:#x}", image.segments[i].address));
    }
  }
  return {};
}

template <class Elf>
Result<ElfImage> parse(const BootBytes& file) {
  typename Elf::Header header{};
  if (!file.load(0, header)) return fail("is cut short within its ELF header");
  if (header.e_machine != EM_X86_64 && header.e_machine != EM_386) {
    return fail(fmt::format("is for machine {}, not for x86", header.e_machine));
  }
  if (header.e_type != ET_EXEC && header.e_type != ET_DYN) return fail("is not an executable");
  if (header.e_phentsize != sizeof(typename Elf::ProgramHeader) || header.e_phnum == 0 ||
      header.e_phnum > kMaxHeaders) {
    return fail(
        fmt::format("has {} program headers of {} bytes", header.e_phnum, header.e_phentsize));
  }
  ElfImage image;
  std::optional<std::uint64_t> entry;
  for (std::uint64_t i = 0; i < header.e_phnum; ++i) {
    typename Elf::ProgramHeader program{};
    // e_phoff may be anything: no sum before it is known to be in the file.
    if (header.e_phoff > file.size() || !file.load(header.e_phoff + i * sizeof program, program)) {
      return fail("is cut short within its program headers");
    }
    if (program.p_type == PT_LOAD) {
      const auto status = add_segment(
          image, file, {program.p_offset, program.p_filesz, program.p_paddr, program.p_memsz});
      if (!status) return forward(status);
    } else if (program.p_type == PT_NOTE && !entry) {
      if (program.p_filesz > kMaxNoteBytes) {
        return fail(fmt::format("has {} bytes of notes", program.p_filesz));
      }
      std::vector<std::byte> notes(program.p_filesz);
      if (!file.read(program.p_offset, std::span(notes))) {
        return fail("is cut short: its notes go past its end");
      }
      entry = find_entry_note(notes, program.p_align == 8 ? 8 : 4);
      // Some linkers say 8 of notes that are aligned to 4.
      if (!entry && program.p_align == 8) entry = find_entry_note(notes, 4);
    }
  }
  if (auto status = check_segments(image); !status) return forward(status);
  if (!entry) {
    return fail(
        "is not a PVH kernel: it has no note XEN_ELFNOTE_PHYS32_ENTRY (Linux needs "
        "CONFIG_PVH=y)");
  }
  const bool inside = std::ranges::any_of(image.segments, [&](const ElfImage::Segment& segment) {
    return *entry >= segment.address && *entry - segment.address < segment.memory_size;
  });
  if (*entry > std::numeric_limits<std::uint32_t>::max() || !inside) {
    return fail(fmt::format("has its PVH entry at {:#x}, outside of what it loads", *entry));
  }
  image.pvh_entry = static_cast<std::uint32_t>(*entry);
  return image;
}

}  // namespace

Result<ElfImage> parse_pvh_elf(const BootBytes& file) {
  std::array<unsigned char, EI_NIDENT> ident{};
  if (!file.load(0, ident) || std::memcmp(ident.data(), ELFMAG, SELFMAG) != 0) {
    return fail("is neither a bzImage nor an ELF file");
  }
  if (ident[EI_DATA] != ELFDATA2LSB) return fail("is not a little-endian ELF file");
  if (ident[EI_CLASS] == ELFCLASS64) return parse<Elf64>(file);
  if (ident[EI_CLASS] == ELFCLASS32) return parse<Elf32>(file);
  return fail(fmt::format("is an ELF file of unknown class {}", ident[EI_CLASS]));
}

}  // namespace bellhop
