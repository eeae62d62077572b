#include "base/file_lock.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <fstream>
#include <memory>
#include <string_view>
#include <thread>

#include "base/log.h"

namespace bellhop {

namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

constexpr off_t kHas = 100;        // plus a permission
constexpr off_t kKeepsFrom = 200;  // plus a permission
constexpr off_t kRead = 0;
constexpr off_t kWrite = 1;
constexpr std::chrono::seconds kDeadHoldIt{2};

/// `length` 0: to the end.
struct flock bytes(short type, off_t start, off_t length) noexcept {
  struct flock range {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = start;
  range.l_len = length;
  return range;
}

/// 0 or an errno: EAGAIN where another's lock is against it.
int lock_byte(int fd, off_t byte) noexcept {
  struct flock range = bytes(F_RDLCK, byte, 1);
  if (::fcntl(fd, F_OFD_SETLK, &range) == 0) return 0;
  return errno == EACCES ? EAGAIN : errno;
}

/// The same if another has a lock there, of whatever kind.
int find_lock(int fd, off_t start, off_t length) noexcept {
  struct flock range = bytes(F_WRLCK, start, length);
  if (::fcntl(fd, F_OFD_GETLK, &range) != 0) return errno;
  return range.l_type == F_UNLCK ? 0 : EAGAIN;
}

void unlock(int fd) noexcept {
  struct flock range = bytes(F_UNLCK, 0, 0);
  (void)::fcntl(fd, F_OFD_SETLK, &range);
}

/// Locks first and looks afterwards: of two that come together, one at least sees the other.
int lock(int fd, LockKind kind) noexcept {
  const bool writes = kind == LockKind::kExclusive;
  int error = lock_byte(fd, kHas + kRead);
  if (error == 0 && writes) error = lock_byte(fd, kHas + kWrite);
  if (error == 0) error = lock_byte(fd, kKeepsFrom + kWrite);
  if (error == 0) error = find_lock(fd, kKeepsFrom + kRead, 1);
  if (error == 0 && writes) error = find_lock(fd, kKeepsFrom + kWrite, 1);
  if (error == 0) error = find_lock(fd, kHas + kWrite, 1);
  return error;
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

/// The process that has a lock of either kind; 0 if nobody is found.
int holder_of(int fd) {
  struct flock range = bytes(F_WRLCK, 0, 0);
  // Tells the process of a lock of the older, per-process kind.
  if (::fcntl(fd, F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK && range.l_pid > 0) {
    return range.l_pid;
  }
  return find_holder(fd);
}

/// As lock(), but waits a while for a lock that no process has: that of a program which was killed,
/// whose io_uring keeps its files until the kernel has come around to it.
int lock_after_the_dead(int fd, LockKind kind) {
  const auto end = std::chrono::steady_clock::now() + kDeadHoldIt;
  while (true) {
    const int error = lock(fd, kind);
    if (error != EAGAIN) return error;
    unlock(fd);  // before a holder is looked for
    if (std::chrono::steady_clock::now() > end || holder_of(fd) != 0) return error;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

std::string name_holder(int fd) {
  const int pid = holder_of(fd);
  if (pid == 0) return "another process";
  if (pid == ::getpid()) return fmt::format("this process (pid {})", pid);
  std::string name;
  std::getline(std::ifstream(fmt::format("/proc/{}/comm", pid)), name);
  return name.empty() ? fmt::format("pid {}", pid) : fmt::format("{} (pid {})", name, pid);
}

}  // namespace

FileLock::~FileLock() {
  if (fd_ >= 0) unlock(fd_);
}

Result<FileLock> FileLock::take(int fd, const std::string& path, LockKind kind, LockNeed need) {
  const int error = lock_after_the_dead(fd, kind);
  if (error == 0) return FileLock(fd);
  unlock(fd);
  if (error == EAGAIN) {
    return fail(fmt::format("{} is in use by {}{}", path, name_holder(fd),
                            kind == LockKind::kExclusive
                                ? ": one machine at a time may open an image for writing"
                                : ", which writes to it"),
                error);
  }
  if (need == LockNeed::kMust) {
    return fail_errno(fmt::format("{} cannot be locked (locking=on)", path), error);
  }
  // log: at start
  log::warn("{} cannot be locked ({}): make sure that no other machine writes to it", path,
            std::generic_category().message(error));
  return FileLock();
}

Status FileLock::check_free(int fd, const std::string& path) {
  if (find_lock(fd, 0, 0) != EAGAIN) return {};
  return fail(fmt::format("{} is in use by {}", path, name_holder(fd)), EAGAIN);
}

}  // namespace bellhop
