#include <cerrno>
#include <cstdio>

#include "apps/bellhop/commands.h"
#include "base/log.h"

namespace bellhop {

std::string one_line(std::string_view text) {
  std::string line(text);
  for (char& c : line) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

void print(std::FILE* file, const std::string& text) { (void)std::fputs(text.c_str(), file); }

int report(const Error& error, int status) {
  log::tell(status == kDone ? log::Level::kInfo : log::Level::kError, one_line(error.message));
  return status;
}

int report(const Error& error) {
  switch (error.code) {
    case 0:  // no system call: a check of ours
    case EACCES:
    case ECONNREFUSED:
    case EEXIST:
    case EINVAL:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
    case ENOENT:
    case ENOTDIR:
    case ENXIO:
    case EROFS:
      return report(error, kUsedWrongly);
    default:
      return report(error, kFailed);
  }
}

}  // namespace bellhop
