#include "base/input_file.h"

#include <fmt/format.h>
#include <unistd.h>

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

}  // namespace bellhop
