#include "base/output_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/file_lock.h"

namespace bellhop {

OutputFiles::~OutputFiles() {
  for (const File& file : files_) {
    if (file.made) ::unlink(file.path.c_str());
  }
}

Result<UniqueFd> OutputFiles::open(std::string_view option, const std::string& path) {
  constexpr int kFlags = O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
  constexpr mode_t kMode = 0644;
  UniqueFd fd(::open(path.c_str(), kFlags | O_CREAT | O_EXCL, kMode));
  const bool made = fd.valid();
  // O_CREAT: a link may lead to what is not there yet.
  if (!made && errno == EEXIST) fd = UniqueFd(::open(path.c_str(), kFlags | O_CREAT, kMode));
  if (!fd.valid() && errno == ENXIO) {
    return fail(fmt::format("{}: cannot write {}: nobody reads it yet", option, path), ENXIO);
  }
  if (!fd.valid()) return fail_errno(fmt::format("{}: cannot write {}", option, path));
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return fail_errno(fmt::format("{}: {}", option, path));
  if (!S_ISREG(info.st_mode)) return fd;
  if (auto free = FileLock::check_free(fd.get(), path); !free) {
    return fail(fmt::format("{}: {}", option, free.error().message), free.error().code);
  }
  UniqueFd same(::fcntl(fd.get(), F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  if (!same.valid()) return fail_errno(fmt::format("{}: {}", option, path));
  files_.push_back({std::string(option), path, std::move(same), made});
  return fd;
}

Status OutputFiles::begin() {
  for (File& file : files_) {
    if (::ftruncate(file.fd.get(), 0) != 0) {
      return fail_errno(fmt::format("{}: cannot empty {}", file.option, file.path));
    }
  }
  files_.clear();
  return {};
}

}  // namespace bellhop
