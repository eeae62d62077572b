#include "apps/bellhop/result_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/file_lock.h"

namespace bellhop {

Result<UniqueFd> open_result(std::string_view option, const std::string& path, int standard) {
  // Whoever names a FIFO has a reader for it, or hears of it at once.
  UniqueFd file(path == "-" ? ::fcntl(standard, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)
                            : ::open(path.c_str(),
                                     O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0644));
  if (!file.valid()) return fail_errno(fmt::format("{}: cannot write {}", option, path));
  if (path != "-") {
    if (auto free = FileLock::check_free(file.get(), path); !free) {
      return fail(fmt::format("{}: {}", option, free.error().message), free.error().code);
    }
  }
  // From here on a reader that is slow is waited for.
  if (path != "-") (void)::fcntl(file.get(), F_SETFL, 0);
  return file;
}

Status write_result(std::string_view option, const std::string& path, const UniqueFd& file,
                    std::string_view text) {
  struct stat info {};
  const bool cut = path != "-" && ::fstat(file.get(), &info) == 0 && S_ISREG(info.st_mode);
  bool written = !cut || ::ftruncate(file.get(), 0) == 0;
  while (written && !text.empty()) {
    const ssize_t done = ::write(file.get(), text.data(), text.size());
    if (done < 0 && errno == EINTR) continue;
    written = done > 0;
    if (written) text.remove_prefix(static_cast<std::size_t>(done));
  }
  if (!written) return fail_errno(fmt::format("{}: cannot write {}", option, path));
  return {};
}

}  // namespace bellhop
