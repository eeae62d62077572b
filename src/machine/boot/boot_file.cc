#include "machine/boot/boot_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/units.h"

namespace bellhop {

Result<BootFile> BootFile::open(const std::string& option, const std::string& path,
                                std::uint64_t limit, const std::string& limit_text) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return fail_errno(fmt::format("{}: cannot read {}", option, path));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0)
    return fail_errno(fmt::format("{}: cannot read {}", option, path));
  if (!S_ISREG(status.st_mode)) return fail(fmt::format("{}: {} is not a file", option, path));
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > limit) {
    return fail(
        fmt::format("{}: {} has {}, more than {}", option, path, format_size(size), limit_text));
  }
  return BootFile(std::move(fd), size);
}

bool BootFile::read(std::uint64_t offset, std::span<std::byte> to) const noexcept {
  if (!holds(offset, to.size())) return false;
  while (!to.empty()) {
    const ssize_t n = ::pread(fd_.get(), to.data(), to.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    offset += static_cast<std::uint64_t>(n);
    to = to.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace bellhop
