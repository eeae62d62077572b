#include "machine/boot/pvh_loader.h"

#include <fmt/format.h>

#include "base/units.h"
#include "machine/boot/elf_image.h"
#include "machine/boot/memory_layout.h"
#include "machine/boot/memory_map.h"
#include "machine/boot/start_info.h"

namespace bellhop {
namespace {

/// Errors: to be put after the name of the file.
Status load_segments(const GuestMemory& memory, const ElfImage& image, const BootBytes& file) {
  for (const ElfImage::Segment& segment : image.segments) {
    if (segment.address < kPvhInfoEnd && segment.address + segment.memory_size > kPvhInfoBegin) {
      return fail(fmt::format("wants {:#x}, where the boot information lies", segment.address));
    }
    if (segment.address < kLegacyArea.end() &&
        segment.address + segment.memory_size > kLegacyArea.address) {
      return fail(fmt::format("wants {:#x}, and reaches into the firmware's place below {:#x}",
                              segment.address, kLegacyArea.end()));
    }
    const auto room = memory.span(GuestAddress(segment.address), segment.memory_size);
    if (!room) {
      return fail(fmt::format("wants {} at {:#x}, which is outside the guest's RAM of {}",
                              format_size(segment.memory_size), segment.address,
                              format_size(memory.total_size())));
    }
    if (!file.place(segment.file_offset, room->part(0, segment.file_size))) {
      return fail("cannot be read to its end");
    }
    room->part(segment.file_size).fill(std::byte{0});
  }
  return {};
}

}  // namespace

Result<BootRegisters> load_pvh_image(const GuestMemory& memory, const KernelBoot& boot,
                                     const BootBytes& kernel, const BootBytes& initrd) {
  const auto named = [&boot](const Error& error) {
    return fail(fmt::format("{}: {} {}", boot.kernel_option, boot.kernel, error.message));
  };
  const auto image = parse_pvh_elf(kernel);
  if (!image) return named(image.error());
  if (auto loaded = load_segments(memory, *image, kernel); !loaded) return named(loaded.error());
  StartInfoContent content;
  content.cmdline = boot.cmdline;
  content.rsdp = boot.rsdp.value_or(GuestAddress()).value();
  content.reserved = boot.reserved;
  if (initrd.size() != 0) {
    const ElfImage::Segment& last = image->segments.back();
    const auto where = place_initrd(memory, boot, initrd.size(), last.address + last.memory_size,
                                    kRamHole.address);
    if (!where) return forward(where);
    if (auto put = put_initrd(memory, boot, initrd, *where); !put) return forward(put);
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
