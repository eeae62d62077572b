#include "block/file_lock.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <fstream>
#include <memory>
#include <string_view>

#include "base/log.h"

namespace bellhop {

namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

struct flock whole_file(short type) noexcept {
  struct flock range {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  return range;
}

int to_pid(std::string_view name) noexcept {
  int pid = 0;
  const auto* end = name.data() + name.size();
  const auto [stop, problem] = std::from_chars(name.data(), end, pid);
  return problem == std::errc{} && stop == end ? pid : 0;
}

bool fdinfo_has_lock(const std::string& path) {
  std::ifstream info(path);
  std::string line;
  while (std::getline(info, line)) {
    if (line.starts_with("lock:")) return true;
  }
  return false;
}

/// Whether process `pid` has the file of `wanted` open with a lock on it.
bool holds_lock(int pid, const struct stat& wanted) {
  const std::string base = fmt::format("/proc/{}/fd", pid);
  const Directory fds(::opendir(base.c_str()));
  if (!fds) return false;  // another user's
  while (const dirent* const entry = ::readdir(fds.get())) {
    if (entry->d_name[0] == '.') continue;
    struct stat found {};
    if (::stat(fmt::format("{}/{}", base, entry->d_name).c_str(), &found) != 0) continue;
    if (found.st_dev != wanted.st_dev || found.st_ino != wanted.st_ino) continue;
    if (fdinfo_has_lock(fmt::format("/proc/{}/fdinfo/{}", pid, entry->d_name))) return true;
  }
  return false;
}

/// The kernel does not tell who holds an open-file-description lock, but each process shows its own
/// in /proc. 0 if nobody is found.
int find_holder(int fd) {
  struct stat wanted {};
  if (::fstat(fd, &wanted) != 0) return 0;
  const Directory processes(::opendir("/proc"));
  if (!processes) return 0;
  while (const dirent* const entry = ::readdir(processes.get())) {
    if (const int pid = to_pid(entry->d_name); pid != 0 && holds_lock(pid, wanted)) return pid;
  }
  return 0;
}

std::string name_holder(int fd, short type) {
  struct flock range = whole_file(type);
  int pid = 0;
  // Tells the process of a lock of the older, per-process kind.
  if (::fcntl(fd, F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK && range.l_pid > 0) {
    pid = range.l_pid;
  }
  if (pid == 0) pid = find_holder(fd);
  if (pid == 0) return "another process";
  if (pid == ::getpid()) return fmt::format("this process (pid {})", pid);
  std::string name;
  std::getline(std::ifstream(fmt::format("/proc/{}/comm", pid)), name);
  return name.empty() ? fmt::format("pid {}", pid) : fmt::format("{} (pid {})", name, pid);
}

}  // namespace

FileLock::~FileLock() {
  if (fd_ < 0) return;
  struct flock range = whole_file(F_UNLCK);
  (void)::fcntl(fd_, F_OFD_SETLK, &range);
}

Result<FileLock> FileLock::take(int fd, const std::string& path, LockKind kind) {
  const short type = kind == LockKind::kExclusive ? F_WRLCK : F_RDLCK;
  struct flock range = whole_file(type);
  if (::fcntl(fd, F_OFD_SETLK, &range) == 0) return FileLock(fd);
  const int error = errno;
  if (error == EAGAIN || error == EACCES) {
    return fail(fmt::format("{} is in use by {}{}", path, name_holder(fd, type),
                            kind == LockKind::kExclusive
                                ? ": one machine at a time may open an image for writing"
                                : ", which writes to it"),
                error);
  }
  // log: at start
  log::warn("{} cannot be locked ({}): make sure that no other machine writes to it", path,
            std::generic_category().message(error));
  return FileLock();
}

}  // namespace bellhop
