#include "testing/elf_builder.h"

#include <elf.h>

#include <array>
#include <cstring>
#include <utility>

namespace bellhop {
namespace {

template <class T>
void append(std::vector<std::byte>& to, const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  to.insert(to.end(), bytes.begin(), bytes.end());
}

void append_note(std::vector<std::byte>& to, std::uint32_t type, const char (&owner)[4],
                 std::span<const std::byte> value) {
  append(to, Elf64_Nhdr{sizeof owner, static_cast<std::uint32_t>(value.size()), type});
  append(to, owner);
  to.insert(to.end(), value.begin(), value.end());
  to.resize((to.size() + 3) / 4 * 4);
}

template <class Header, class ProgramHeader>
std::vector<std::byte> build_elf(const std::vector<ElfBuilder::Segment>& segments,
                                 unsigned char elf_class, std::uint16_t machine) {
  Header header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = elf_class;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_EXEC;
  header.e_machine = machine;
  header.e_version = EV_CURRENT;
  header.e_phoff = sizeof(Header);
  header.e_ehsize = sizeof(Header);
  header.e_phentsize = sizeof(ProgramHeader);
  header.e_phnum = static_cast<std::uint16_t>(segments.size());
  std::vector<std::byte> file;
  append(file, header);
  std::uint64_t offset = sizeof(Header) + segments.size() * sizeof(ProgramHeader);
  for (const ElfBuilder::Segment& segment : segments) {
    ProgramHeader program{};
    program.p_type = segment.type;
    program.p_offset = static_cast<decltype(program.p_offset)>(offset);
    program.p_paddr = static_cast<decltype(program.p_paddr)>(segment.address);
    program.p_vaddr = program.p_paddr;
    program.p_filesz = static_cast<decltype(program.p_filesz)>(segment.bytes.size());
    program.p_memsz = static_cast<decltype(program.p_memsz)>(
        segment.memory_size != 0 ? segment.memory_size : segment.bytes.size());
    program.p_align = 4;
    append(file, program);
    offset += segment.bytes.size();
  }
  for (const ElfBuilder::Segment& segment : segments) {
    file.insert(file.end(), segment.bytes.begin(), segment.bytes.end());
  }
  return file;
}

}  // namespace

ElfBuilder& ElfBuilder::load(std::uint64_t address, std::span<const std::uint8_t> bytes,
                             std::uint64_t memory_size) {
  const auto raw = std::as_bytes(bytes);
  return segment({PT_LOAD, address, {raw.begin(), raw.end()}, memory_size});
}

ElfBuilder& ElfBuilder::pvh_note(std::uint64_t entry) {
  Segment note{PT_NOTE, 0, {}, 0};
  append_note(note.bytes, 3, {'G', 'N', 'U', '\0'}, std::array<std::byte, 5>{});
  if (width_ == Class::k64) {
    append_note(note.bytes, 18, {'X', 'e', 'n', '\0'}, std::as_bytes(std::span(&entry, 1)));
  } else {
    const auto narrow = static_cast<std::uint32_t>(entry);
    append_note(note.bytes, 18, {'X', 'e', 'n', '\0'}, std::as_bytes(std::span(&narrow, 1)));
  }
  return segment(std::move(note));
}

ElfBuilder& ElfBuilder::segment(Segment segment) {
  segments_.push_back(std::move(segment));
  return *this;
}

std::vector<std::byte> ElfBuilder::build() const {
  return width_ == Class::k64 ? build_elf<Elf64_Ehdr, Elf64_Phdr>(segments_, ELFCLASS64, EM_X86_64)
                              : build_elf<Elf32_Ehdr, Elf32_Phdr>(segments_, ELFCLASS32, EM_386);
}

std::vector<std::byte> ElfBuilder::tiny_kernel(Class width) {
  // mov eax, ebx; out 0xf4, eax; jmp $
  constexpr std::array<std::uint8_t, 6> kCode{0x89, 0xd8, 0xe7, 0xf4, 0xeb, 0xfe};
  return ElfBuilder(width).load(0x100000, kCode, 0x3000).pvh_note(0x100000).build();
}

}  // namespace bellhop
