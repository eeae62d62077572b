#include "machine/boot/pvh_loader.h"

#include <fmt/format.h>

#include "base/units.h"
#include "machine/boot/elf_image.h"
#include "machine/boot/memory_layout.h"
#include "machine/boot/memory_map.h"
#include "machine/boot/start_info.h"

namespace bellhop {
namespace {

Status load_segments(const GuestMemory& memory, const std::string& path, const ElfImage& image,
                     const BootBytes& file) {
  for (const ElfImage::Segment& segment : image.segments) {
    if (segment.address < kPvhInfoEnd && segment.address + segment.memory_size > kPvhInfoBegin) {
      return fail(fmt::format("kernel {} wants {:#x}, where the boot information lies", path,
                              segment.address));
    }
    if (segment.address < kLegacyArea.end() &&
        segment.address + segment.memory_size > kLegacyArea.address) {
      return fail(
          fmt::format("kernel {} wants {:#x}, and reaches into the firmware's place below "
                      "{:#x}",
                      path, segment.address, kLegacyArea.end()));
    }
    const auto room = memory.span(GuestAddress(segment.address), segment.memory_size);
    if (!room) {
      return fail(fmt::format("kernel {} wants {} at {:#x}, which is outside the guest's RAM of {}",
                              path, format_size(segment.memory_size), segment.address,
                              format_size(memory.total_size())));
    }
    if (!file.place(segment.file_offset, room->part(0, segment.file_size))) {
      return fail(fmt::format("kernel {} cannot be read to its end", path));
    }
    room->part(segment.file_size).fill(std::byte{0});
  }
  return {};
}

}  // namespace

Result<BootRegisters> load_pvh_image(const GuestMemory& memory, const KernelBoot& boot,
                                     const BootBytes& kernel, const BootBytes& initrd) {
  const auto image = parse_pvh_elf(kernel);
  if (!image) return fail(fmt::format("kernel {} {}", boot.kernel, image.error().message));
  if (auto status = load_segments(memory, boot.kernel, *image, kernel); !status) {
    return forward(status);
  }
  StartInfoContent content;
  content.cmdline = boot.cmdline;
  content.rsdp = boot.rsdp.value_or(GuestAddress()).value();
  content.reserved = boot.reserved;
  if (initrd.size() != 0) {
    const ElfImage::Segment& last = image->segments.back();
    const auto where = place_initrd(memory, boot.initrd, initrd.size(),
                                    last.address + last.memory_size, kRamHole.address);
    if (!where) return forward(where);
    if (auto put = put_initrd(memory, boot.initrd, initrd, *where); !put) return forward(put);
    content.module = {where->value(), initrd.size()};
  }
  const auto info = write_start_info(memory, content);
  if (!info) return forward(info);

  BootRegisters registers;
  registers.mode = BootRegisters::Mode::kProtected32Flat;
  registers.rip = image->pvh_entry;
  registers.rbx = info->value();
  return registers;
}

}  // namespace bellhop
