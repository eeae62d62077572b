#include "machine/boot/kernel_boot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/units.h"
#include "machine/boot/bzimage_loader.h"
#include "machine/boot/pvh_loader.h"

namespace bellhop {
namespace {

constexpr std::uint64_t kPage = 4096;
// A vmlinux with all its debug information has about a tenth of this.
constexpr std::uint64_t kMaxKernelFile = std::uint64_t{4} << 30U;

Result<BootFile> open_kernel(const std::string& option, const std::string& path) {
  return BootFile::open(option, path, kMaxKernelFile, format_size(kMaxKernelFile));
}

/// The first bytes of a file, as many as any format needs to be recognised.
std::vector<std::byte> head_of(const BootBytes& file) {
  std::vector<std::byte> head(std::min<std::uint64_t>(file.size(), kPage));
  if (!file.read(0, std::span(head))) head.clear();
  return head;
}

bool contains(const BootBytes& file, std::string_view text) {
  constexpr std::uint64_t kAtOnce = 1U << 20U;
  std::vector<std::byte> window(kAtOnce);
  // Windows overlap, for what lies across the end of one.
  for (std::uint64_t at = 0; file.holds(at, text.size()); at += kAtOnce - text.size()) {
    const auto part = std::span(window).first(std::min<std::uint64_t>(kAtOnce, file.size() - at));
    if (!file.read(at, part)) return false;
    if (::memmem(part.data(), part.size(), text.data(), text.size()) != nullptr) return true;
  }
  return false;
}

}  // namespace

Result<GuestAddress> place_initrd(const GuestMemory& memory, const KernelBoot& boot,
                                  std::uint64_t size, std::uint64_t kernel_end,
                                  std::uint64_t limit) {
  const GuestMemory::Region& low = memory.regions().front();
  const std::uint64_t end = std::min(low.base.value() + low.size, limit);
  const std::uint64_t begin = size > end ? 0 : (end - size) / kPage * kPage;
  if (begin < std::max(kernel_end, kLegacyArea.end())) {
    const std::string where =
        limit < low.base.value() + low.size
            ? fmt::format("below {:#x}, where kernel {} wants it", limit, boot.kernel)
            : fmt::format("into {} of RAM{}", format_size(low.size),
                          memory.regions().size() > 1 ? " below 4 GiB" : "");
    return fail(fmt::format("{}: {} has {}: with the kernel it does not fit {}", boot.initrd_option,
                            boot.initrd, format_size(size), where));
  }
  return GuestAddress(begin);
}

Status put_initrd(const GuestMemory& memory, const KernelBoot& boot, const BootBytes& initrd,
                  GuestAddress where) {
  const auto room = memory.span(where, initrd.size());
  if (!room)
    return fail(fmt::format("{}: {} does not fit into RAM", boot.initrd_option, boot.initrd));
  if (!initrd.place(0, *room)) {
    return fail(fmt::format("{}: {} cannot be read to its end", boot.initrd_option, boot.initrd));
  }
  return {};
}

bool is_linux_kernel(const std::string& path) {
  const auto file = open_kernel("--kernel", path);
  return file && (is_bzimage(head_of(*file)) || contains(*file, "Linux version "));
}

Result<BootRegisters> load_kernel_image(const GuestMemory& memory, const KernelBoot& boot,
                                        const BootBytes& kernel, const BootBytes& initrd) {
  if (boot.cmdline.size() > kMaxCommandLine) {
    return fail(fmt::format("{}: the command line has {} bytes, kernels take {}",
                            boot.cmdline_option, boot.cmdline.size(), kMaxCommandLine));
  }
  if (boot.cmdline.find('\0') != std::string::npos) {
    return fail(fmt::format("{}: the command line holds a zero byte", boot.cmdline_option));
  }
  return is_bzimage(head_of(kernel)) ? load_bzimage(memory, boot, kernel, initrd)
                                     : load_pvh_image(memory, boot, kernel, initrd);
}

Result<BootRegisters> load_kernel(const GuestMemory& memory, const KernelBoot& boot) {
  const auto kernel = open_kernel(boot.kernel_option, boot.kernel);
  if (!kernel) return forward(kernel);
  if (boot.initrd.empty()) return load_kernel_image(memory, boot, *kernel, BytesInMemory({}));
  const std::uint64_t ram = memory.total_size();
  const auto initrd = BootFile::open(boot.initrd_option, boot.initrd, ram,
                                     "the guest's RAM of " + format_size(ram));
  if (!initrd) return forward(initrd);
  if (initrd->size() == 0) {
    return fail(fmt::format("{}: {} is empty", boot.initrd_option, boot.initrd));
  }
  return load_kernel_image(memory, boot, *kernel, *initrd);
}

}  // namespace bellhop
