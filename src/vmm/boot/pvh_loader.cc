#include "vmm/boot/pvh_loader.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/units.h"
#include "vmm/boot/elf_image.h"
#include "vmm/boot/start_info.h"

namespace bellhop {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kFirstFree = 0x100000;  // what lies below is a PC's legacy area
// A vmlinux with all its debug information has about a tenth of this.
constexpr std::uint64_t kMaxKernelFile = std::uint64_t{4} << 30U;

Result<std::vector<std::byte>> read_file(const std::string& what, const std::string& path,
                                         std::uint64_t limit, const std::string& limit_text) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return fail_errno(fmt::format("{} {}", what, path));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return fail_errno(fmt::format("{} {}", what, path));
  if (!S_ISREG(status.st_mode)) return fail(fmt::format("{} {} is not a file", what, path));
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > limit) {
    return fail(
        fmt::format("{} {} has {}, more than {}", what, path, format_size(size), limit_text));
  }
  std::vector<std::byte> bytes(size);
  std::uint64_t done = 0;
  while (done < size) {
    const ssize_t n = ::pread(fd.get(), bytes.data() + done, size - done, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(fmt::format("{} {}", what, path));
    if (n == 0) break;  // someone makes it shorter: what is left is judged like any file
    done += static_cast<std::uint64_t>(n);
  }
  bytes.resize(done);
  return bytes;
}

Status load_segments(const GuestMemory& memory, const std::string& path, const ElfImage& image,
                     std::span<const std::byte> file) {
  for (const ElfImage::Segment& segment : image.segments) {
    if (segment.address < kPvhInfoEnd && segment.address + segment.memory_size > kPvhInfoBegin) {
      return fail(fmt::format("kernel {} wants {:#x}, where the boot information lies", path,
                              segment.address));
    }
    const auto room = memory.span(GuestAddress(segment.address), segment.memory_size);
    if (!room) {
      return fail(fmt::format("kernel {} wants {} at {:#x}, which is outside the guest's RAM of {}",
                              path, format_size(segment.memory_size), segment.address,
                              format_size(memory.total_size())));
    }
    room->copy_in(file.subspan(segment.file_offset, segment.file_size));
    room->part(segment.file_size).fill(std::byte{0});
  }
  return {};
}

// As high as it can be in the RAM below the hole, and above the kernel: Linux takes the room right
// behind itself for early page tables.
Result<GuestAddress> place_initrd(const GuestMemory& memory, const std::string& path,
                                  const ElfImage& image, std::uint64_t size) {
  const GuestMemory::Region& low = memory.regions().front();
  const ElfImage::Segment& last = image.segments.back();
  const std::uint64_t ram_end = low.base.value() + low.size;
  const std::uint64_t begin = size > ram_end ? 0 : (ram_end - size) / kPage * kPage;
  if (begin < std::max(last.address + last.memory_size, kFirstFree)) {
    return fail(fmt::format("initrd {} has {}: with the kernel it does not fit into {} of RAM{}",
                            path, format_size(size), format_size(low.size),
                            memory.regions().size() > 1 ? " below 4 GiB" : ""));
  }
  return GuestAddress(begin);
}

}  // namespace

Result<BootRegisters> load_pvh_image(const GuestMemory& memory, const PvhBoot& boot,
                                     std::span<const std::byte> kernel,
                                     std::span<const std::byte> initrd) {
  if (boot.cmdline.size() > kMaxCommandLine) {
    return fail(fmt::format("the command line has {} bytes, kernels take {}", boot.cmdline.size(),
                            kMaxCommandLine));
  }
  if (boot.cmdline.find('\0') != std::string::npos) {
    return fail("the command line holds a zero byte");
  }
  const auto image = parse_pvh_elf(kernel);
  if (!image) return fail(fmt::format("kernel {} {}", boot.kernel, image.error().message));
  if (auto status = load_segments(memory, boot.kernel, *image, kernel); !status) {
    return forward(status);
  }
  StartInfoContent content;
  content.cmdline = boot.cmdline;
  content.rsdp = boot.rsdp.value_or(GuestAddress()).value();
  for (const PvhBoot::Reserved& range : boot.reserved) {
    content.reserved.push_back({range.base.value(), range.size});
  }
  if (!initrd.empty()) {
    const auto where = place_initrd(memory, boot.initrd, *image, initrd.size());
    if (!where) return forward(where);
    if (!memory.write(*where, initrd)) {
      return fail(fmt::format("initrd {} does not fit into RAM", boot.initrd));
    }
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

Result<BootRegisters> load_pvh(const GuestMemory& memory, const PvhBoot& boot) {
  const auto kernel = read_file("kernel", boot.kernel, kMaxKernelFile, format_size(kMaxKernelFile));
  if (!kernel) return forward(kernel);
  std::vector<std::byte> initrd;
  if (!boot.initrd.empty()) {
    const std::uint64_t ram = memory.total_size();
    auto bytes = read_file("initrd", boot.initrd, ram, "the guest's RAM of " + format_size(ram));
    if (!bytes) return forward(bytes);
    if (bytes->empty()) return fail(fmt::format("initrd {} is empty", boot.initrd));
    initrd = std::move(*bytes);
  }
  return load_pvh_image(memory, boot, *kernel, initrd);
}

}  // namespace bellhop
