#include "vmm/boot/kernel_boot.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string_view>

#include "base/units.h"
#include "vmm/boot/bzimage_loader.h"
#include "vmm/boot/pvh_loader.h"

namespace bellhop {
namespace {

constexpr std::uint64_t kPage = 4096;
// A vmlinux with all its debug information has about a tenth of this.
constexpr std::uint64_t kMaxKernelFile = std::uint64_t{4} << 30U;

/// A file's bytes. A vector would write zeroes first, and a kernel has many pages.
struct FileBytes {
  std::unique_ptr<std::byte[]> bytes;
  std::size_t size = 0;
  [[nodiscard]] std::span<const std::byte> all() const noexcept { return {bytes.get(), size}; }
};

Result<FileBytes> read_file(const std::string& what, const std::string& path, std::uint64_t limit,
                            const std::string& limit_text) {
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
  FileBytes file{std::make_unique_for_overwrite<std::byte[]>(size)};
  std::uint64_t& done = file.size;
  while (done < size) {
    const ssize_t n =
        ::pread(fd.get(), file.bytes.get() + done, size - done, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(fmt::format("{} {}", what, path));
    if (n == 0) break;  // someone makes it shorter: what is left is judged like any file
    done += static_cast<std::uint64_t>(n);
  }
  return file;
}

bool contains(std::span<const std::byte> bytes, std::string_view text) {
  return ::memmem(bytes.data(), bytes.size(), text.data(), text.size()) != nullptr;
}

}  // namespace

Result<GuestAddress> place_initrd(const GuestMemory& memory, const std::string& path,
                                  std::uint64_t size, std::uint64_t kernel_end,
                                  std::uint64_t limit) {
  const GuestMemory::Region& low = memory.regions().front();
  const std::uint64_t end = std::min(low.base.value() + low.size, limit);
  const std::uint64_t begin = size > end ? 0 : (end - size) / kPage * kPage;
  if (begin < std::max(kernel_end, kLegacyEnd)) {
    return fail(fmt::format("initrd {} has {}: with the kernel it does not fit into {} of RAM{}",
                            path, format_size(size), format_size(low.size),
                            memory.regions().size() > 1 ? " below 4 GiB" : ""));
  }
  return GuestAddress(begin);
}

bool is_linux_kernel(const std::string& path) {
  const auto file = read_file("kernel", path, kMaxKernelFile, format_size(kMaxKernelFile));
  return file && (is_bzimage(file->all()) || contains(file->all(), "Linux version "));
}

Result<BootRegisters> load_kernel_image(const GuestMemory& memory, const KernelBoot& boot,
                                        std::span<const std::byte> kernel,
                                        std::span<const std::byte> initrd) {
  if (boot.cmdline.size() > kMaxCommandLine) {
    return fail(fmt::format("the command line has {} bytes, kernels take {}", boot.cmdline.size(),
                            kMaxCommandLine));
  }
  if (boot.cmdline.find('\0') != std::string::npos) {
    return fail("the command line holds a zero byte");
  }
  return is_bzimage(kernel) ? load_bzimage(memory, boot, kernel, initrd)
                            : load_pvh_image(memory, boot, kernel, initrd);
}

Result<BootRegisters> load_kernel(const GuestMemory& memory, const KernelBoot& boot) {
  const auto kernel = read_file("kernel", boot.kernel, kMaxKernelFile, format_size(kMaxKernelFile));
  if (!kernel) return forward(kernel);
  FileBytes initrd;
  if (!boot.initrd.empty()) {
    const std::uint64_t ram = memory.total_size();
    auto bytes = read_file("initrd", boot.initrd, ram, "the guest's RAM of " + format_size(ram));
    if (!bytes) return forward(bytes);
    if (bytes->size == 0) return fail(fmt::format("initrd {} is empty", boot.initrd));
    initrd = std::move(*bytes);
  }
  return load_kernel_image(memory, boot, kernel->all(), initrd.all());
}

}  // namespace bellhop
