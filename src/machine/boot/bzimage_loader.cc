#include "machine/boot/bzimage_loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/units.h"

namespace bellhop {
namespace {

// Where the boot information lies: below the legacy area, nowhere near the kernel.
constexpr std::uint64_t kBootParams = 0x7000;
constexpr std::uint64_t kGdt = 0x8000;
constexpr std::uint64_t kPageTables = 0x9000;  // PML4, PDPT and a PD for each of four GiB
constexpr std::uint64_t kCommandLine = 0x20000;

// Offsets in the file's first sector, and the same in boot_params.
constexpr std::size_t kHeaderBegin = 0x1f1;
constexpr std::size_t kSetupSects = 0x1f1;
constexpr std::size_t kSystemSize = 0x1f4;
constexpr std::size_t kBootFlag = 0x1fe;
constexpr std::size_t kJumpLength = 0x201;
constexpr std::size_t kMagic = 0x202;
constexpr std::size_t kVersion = 0x206;
constexpr std::size_t kLoaderType = 0x210;
constexpr std::size_t kLoadFlags = 0x211;
constexpr std::size_t kInitrdAddress = 0x218;
constexpr std::size_t kInitrdSize = 0x21c;
constexpr std::size_t kCommandLineAddress = 0x228;
constexpr std::size_t kInitrdLimit = 0x22c;
constexpr std::size_t kAlignment = 0x230;
constexpr std::size_t kRelocatable = 0x234;
constexpr std::size_t kXloadFlags = 0x236;
constexpr std::size_t kCommandLineSize = 0x238;
constexpr std::size_t kPreferredAddress = 0x258;
constexpr std::size_t kInitSize = 0x260;
constexpr std::size_t kHeaderNeeded = 0x264;
// Only in boot_params.
constexpr std::size_t kRsdpAddress = 0x070;
constexpr std::size_t kMapCount = 0x1e8;
constexpr std::size_t kMap = 0x2d0;
constexpr std::size_t kMapEntry = 20;
constexpr std::size_t kMapMost = 128;
constexpr std::size_t kHeaderMost = 0x290;

constexpr std::uint16_t kFirstWith64Bits = 0x020c;
constexpr std::uint16_t kXlfKernel64 = 1;
constexpr std::uint8_t kLoadedHigh = 1;
constexpr std::uint64_t kParagraph = 16;                    // in which the size of the code is told
constexpr std::uint64_t kMapped = std::uint64_t{4} << 30U;  // by the page tables
constexpr std::uint8_t kLoaderUnknown = 0xff;
constexpr std::uint64_t kEntry64 = 0x200;
constexpr std::uint64_t kSector = 512;

// __BOOT_CS and __BOOT_DS are where the protocol wants them; the task segment is only there because
// a processor in long mode must have one.
constexpr std::uint16_t kBootCs = 0x10;
constexpr std::uint16_t kBootDs = 0x18;
constexpr std::uint16_t kBootTss = 0x20;
constexpr std::array<std::uint64_t, 6> kSegments{
    0, 0, 0x00af'9b00'0000'ffff, 0x00cf'9300'0000'ffff, 0x0000'8b00'0000'0067, 0};

constexpr std::uint64_t kPagePresent = 1;
constexpr std::uint64_t kPageWrite = 2;
constexpr std::uint64_t kPageLarge = 0x80;

template <class T>
T field(std::span<const std::byte> bytes, std::size_t offset) {
  T value{};
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

/// The zero page: struct boot_params.
class BootParams {
 public:
  template <class T>
  void set(std::size_t offset, T value) {
    std::memcpy(bytes_.data() + offset, &value, sizeof value);
  }
  void copy(std::size_t offset, std::span<const std::byte> from) {
    std::memcpy(bytes_.data() + offset, from.data(), from.size());
  }
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::array<std::byte, 4096> bytes_{};
};

struct Header {
  std::uint64_t code_offset = 0;  ///< of the protected-mode kernel in the file
  std::uint64_t load_address = 0;
  std::uint64_t init_size = 0;  ///< RAM that the kernel needs from there on until it has the map
  std::uint64_t initrd_limit = 0;
  std::uint64_t cmdline_limit = 0;  ///< bytes, without the closing zero
  std::size_t end = 0;              ///< of the header, offset in the file
};

/// `file` is the first part of a file of `file_bytes`, with all of its setup header.
Result<Header> parse(std::span<const std::byte> file, std::uint64_t file_bytes) {
  if (file.size() < kHeaderNeeded) return fail("is cut short: its setup header is not all there");
  const auto version = field<std::uint16_t>(file, kVersion);
  if (version < kFirstWith64Bits || (field<std::uint16_t>(file, kXloadFlags) & kXlfKernel64) == 0) {
    return fail(fmt::format(
        "has no 64-bit entry (boot protocol {}.{:02}): a 64-bit Linux of 3.8 or later is needed",
        version >> 8U, version & 0xffU));
  }
  if ((field<std::uint8_t>(file, kLoadFlags) & kLoadedHigh) == 0) {
    return fail("is a zImage, which runs below 640 KiB: a bzImage is needed");
  }
  Header header;
  const auto sectors = field<std::uint8_t>(file, kSetupSects);
  header.code_offset = (std::uint64_t{sectors == 0 ? std::uint8_t{4} : sectors} + 1) * kSector;
  if (header.code_offset >= file_bytes) return fail("is cut short: there is no code in it");
  const std::uint64_t code = field<std::uint32_t>(file, kSystemSize) * kParagraph;
  const std::uint64_t there = file_bytes - header.code_offset;
  if (code >= there + kParagraph) {  // the last one need not be whole
    return fail(fmt::format("is cut short: {} of its {} bytes of code are there", there, code));
  }
  header.end = std::min(
      {std::size_t{kMagic} + field<std::uint8_t>(file, kJumpLength), kHeaderMost, file.size()});
  if (header.end < kHeaderNeeded) {
    return fail(fmt::format("is damaged: its setup header ends at {:#x}", header.end));
  }
  header.load_address = field<std::uint64_t>(file, kPreferredAddress);
  header.init_size = std::max<std::uint64_t>(field<std::uint32_t>(file, kInitSize),
                                             file_bytes - header.code_offset);
  header.cmdline_limit = field<std::uint32_t>(file, kCommandLineSize);
  header.initrd_limit = std::uint64_t{field<std::uint32_t>(file, kInitrdLimit)} + 1;
  return header;
}

// The kernel's place: the one it prefers, or the lowest if it prefers none and can run anywhere.
// One that can, and lies below the place it prefers or not at a multiple of its alignment, moves
// itself there, whatever is in its way.
Result<GuestSpan> place_kernel(const GuestMemory& memory, std::span<const std::byte> file,
                               Header& header) {
  if (field<std::uint8_t>(file, kRelocatable) != 0) {
    const std::uint64_t alignment = field<std::uint32_t>(file, kAlignment);
    if (!std::has_single_bit(alignment)) {
      return fail(fmt::format("is damaged: it wants to lie at a multiple of {:#x}", alignment));
    }
    const std::uint64_t begin = std::max(header.load_address, kLegacyArea.end());
    header.load_address = begin + (0 - begin) % alignment;
  }
  const auto room = header.load_address >= kLegacyArea.end()
                        ? memory.span(GuestAddress(header.load_address), header.init_size)
                        : std::nullopt;
  if (!room || header.load_address + header.init_size > kMapped) {
    return fail(fmt::format("wants {} at {:#x}: more than the guest's RAM of {}{}",
                            format_size(header.init_size), header.load_address,
                            format_size(memory.total_size()),
                            memory.regions().size() > 1 ? " has below 4 GiB" : ""));
  }
  return *room;
}

bool write_page_tables(const GuestMemory& memory) {
  constexpr std::size_t kEntries = 512;
  std::vector<std::uint64_t> tables(kEntries * 6);
  tables[0] = (kPageTables + 0x1000) | kPagePresent | kPageWrite;
  for (std::size_t gib = 0; gib < 4; ++gib) {
    tables[kEntries + gib] = (kPageTables + 0x2000 + gib * 0x1000) | kPagePresent | kPageWrite;
  }
  for (std::size_t i = 0; i < 4 * kEntries; ++i) {
    tables[2 * kEntries + i] = (i << 21U) | kPagePresent | kPageWrite | kPageLarge;
  }
  return memory.write(GuestAddress(kPageTables), std::as_bytes(std::span(tables))) &&
         memory.write(GuestAddress(kGdt), std::as_bytes(std::span(kSegments)));
}

void write_memory_map(BootParams& params, const GuestMemory& memory, const KernelBoot& boot) {
  const std::vector<MapRange> map = make_memory_map(memory, boot.reserved);
  const std::size_t count = std::min(map.size(), kMapMost);
  for (std::size_t i = 0; i < count; ++i) {
    params.set(kMap + i * kMapEntry, map[i].address);
    params.set(kMap + i * kMapEntry + 8, map[i].size);
    params.set(kMap + i * kMapEntry + 16, map[i].type);
  }
  params.set(kMapCount, static_cast<std::uint8_t>(count));
}

Status write_initrd(BootParams& params, const GuestMemory& memory, const KernelBoot& boot,
                    const Header& header, const BootBytes& initrd) {
  const auto where = place_initrd(memory, boot, initrd.size(),
                                  header.load_address + header.init_size, header.initrd_limit);
  if (!where) return forward(where);
  if (auto put = put_initrd(memory, boot, initrd, *where); !put) return put;
  // Below 4 GiB: the upper halves of both stay zero.
  params.set(kInitrdAddress, static_cast<std::uint32_t>(where->value()));
  params.set(kInitrdSize, static_cast<std::uint32_t>(initrd.size()));
  return {};
}

BootRegisters entry_registers(const Header& header) {
  BootRegisters registers;
  registers.mode = BootRegisters::Mode::kLong64;
  registers.rip = header.load_address + kEntry64;
  registers.rsi = kBootParams;
  registers.cr3 = kPageTables;
  registers.gdt = {kGdt, sizeof kSegments - 1};
  registers.tss = {0, 0x67};
  registers.code_selector = kBootCs;
  registers.data_selector = kBootDs;
  registers.task_selector = kBootTss;
  return registers;
}

}  // namespace

bool is_bzimage(std::span<const std::byte> file) noexcept {
  constexpr std::uint32_t kHdrS = 0x53726448;
  return file.size() >= kVersion + 2 && field<std::uint16_t>(file, kBootFlag) == 0xaa55 &&
         field<std::uint32_t>(file, kMagic) == kHdrS;
}

Result<BootRegisters> load_bzimage(const GuestMemory& memory, const KernelBoot& boot,
                                   const BootBytes& kernel, const BootBytes& initrd) {
  const auto named = [&boot](std::string_view what) {
    return fail(fmt::format("{}: {} {}", boot.kernel_option, boot.kernel, what));
  };
  std::vector<std::byte> head(std::min<std::uint64_t>(kernel.size(), kHeaderMost));
  if (!kernel.read(0, std::span(head))) return named("cannot be read");
  auto header = parse(head, kernel.size());
  if (!header) return named(header.error().message);
  if (boot.cmdline.size() > header->cmdline_limit) {
    return fail(fmt::format("{}: the command line has {} bytes, kernel {} takes {}",
                            boot.cmdline_option, boot.cmdline.size(), boot.kernel,
                            header->cmdline_limit));
  }
  const auto room = place_kernel(memory, head, *header);
  if (!room) return named(room.error().message);
  const std::uint64_t code_bytes = kernel.size() - header->code_offset;
  if (!kernel.place(header->code_offset, room->part(0, code_bytes))) {
    return named("cannot be read to its end");
  }

  BootParams params;
  params.copy(kHeaderBegin, std::span(head).subspan(kHeaderBegin, header->end - kHeaderBegin));
  params.set(kLoaderType, kLoaderUnknown);
  params.set(kCommandLineAddress, static_cast<std::uint32_t>(kCommandLine));
  if (boot.rsdp) params.set(kRsdpAddress, boot.rsdp->value());
  write_memory_map(params, memory, boot);
  if (initrd.size() != 0) {
    if (auto put = write_initrd(params, memory, boot, *header, initrd); !put) return forward(put);
  }
  const bool written =
      write_page_tables(memory) && memory.write(GuestAddress(kBootParams), params.bytes()) &&
      memory.write(GuestAddress(kCommandLine),
                   std::as_bytes(std::span(boot.cmdline.c_str(), boot.cmdline.size() + 1)));
  if (!written) return fail("the boot information does not fit below the kernel");
  return entry_registers(*header);
}

}  // namespace bellhop
