#include "base/input_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "base/unique_fd.h"
#include "base/units.h"

namespace bellhop {

Status check_input_file(std::string_view option, const std::string& path, struct stat* which) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    return fail_errno(fmt::format("{}: cannot open {}", option, path));
  }
  if (!S_ISREG(info.st_mode) && !S_ISBLK(info.st_mode)) {
    return fail(fmt::format("{}: {} is neither a file nor a block device", option, path));
  }
  if (::access(path.c_str(), R_OK) != 0) {
    return fail_errno(fmt::format("{}: cannot read {}", option, path));
  }
  if (which != nullptr) *which = info;
  return {};
}

Result<std::string> read_input_file(std::string_view option, const std::string& path,
                                    std::size_t most) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat info {};
  if (!file.valid() || ::fstat(file.get(), &info) != 0) {
    return fail_errno(fmt::format("{}: cannot read {}", option, path));
  }
  if (!S_ISREG(info.st_mode)) return fail(fmt::format("{}: {} is not a file", option, path));
  // One byte more than may be: the size of a file can change, and some tell none.
  std::string text(most + 1, '\0');
  std::size_t length = 0;
  while (length < text.size()) {
    const ssize_t n = ::read(file.get(), text.data() + length, text.size() - length);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(fmt::format("{}: cannot read {}", option, path));
    if (n == 0) break;
    length += static_cast<std::size_t>(n);
  }
  if (length > most) {
    return fail(fmt::format("{}: {} has more than {}", option, path, format_size(most)));
  }
  text.resize(length);
  return text;
}

}  // namespace bellhop
