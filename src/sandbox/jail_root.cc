#include "sandbox/jail_root.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <utility>

#include "base/split.h"

namespace bellhop::sandbox {

namespace fs = std::filesystem;

namespace {

constexpr const char* kBase = "/dev";  // every host has it: the root is put together over it
constexpr mode_t kRootMode = 0755;
constexpr std::string_view kTerminals = "/dev/ptmx";

/// Absolute, without "." and "..", which need not be there inside.
std::string clean(const std::string& path) {
  return fs::absolute(path).lexically_normal().string();
}

bool is_below(std::string_view path, std::string_view folder) {
  return folder == "/" ||
         (path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/'));
}

/// Of a file that may not be there yet.
std::string folder_of(const std::string& path) {
  return fs::path(clean(path)).parent_path().string();
}

/// The file that a path comes to outside.
std::string real(const std::string& path) {
  std::error_code failed;
  const fs::path found = fs::canonical(path, failed);
  return failed ? path : found.string();
}

class Parts {
 public:
  void add(std::string path, bool writable, bool device = false, bool program = false) {
    struct stat info {};
    path = clean(path);
    if (path.size() > 1 && path.back() == '/') path.pop_back();
    if (::stat(path.c_str(), &info) != 0) return;
    for (JailPart& other : all_) {
      if (other.path != path) continue;
      other.writable = other.writable || writable;
      other.program = other.program || program;
      return;
    }
    all_.push_back({.path = std::move(path),
                    .folder = S_ISDIR(info.st_mode),
                    .writable = writable,
                    .device = device,
                    .program = program});
  }

  /// Folders first; without what is in one of them already. A link in one leads to nothing inside:
  /// what it leads to is there at its own place.
  std::vector<JailPart> take() {
    std::vector<JailPart> kept;
    std::ranges::sort(all_, {}, &JailPart::path);
    for (JailPart& one : all_) {
      const auto around = std::ranges::find_if(kept, [&](const JailPart& folder) {
        return folder.folder && one.path != folder.path && is_below(one.path, folder.path);
      });
      if (around != kept.end()) {
        const std::string target = real(one.path);
        if (target != one.path && !is_below(target, real(around->path))) {
          one.path = target;
        } else if (around->writable == one.writable && !one.device && !one.program) {
          continue;
        }
      }
      kept.push_back(std::move(one));
    }
    std::ranges::sort(kept, {}, &JailPart::path);
    const auto same = [](const JailPart& a, const JailPart& b) { return a.path == b.path; };
    kept.erase(std::unique(kept.begin(), kept.end(), same), kept.end());
    return kept;
  }

 private:
  std::vector<JailPart> all_;
};

/// Another program (passt) and the libraries that it shares with this one.
void add_programs(Parts& parts) {
  const char* const path = ::getenv("PATH");
  for (const std::string_view folder : split(path == nullptr ? "/usr/bin" : path, ':')) {
    for (const char* const name : {"passt", "passt.avx2"}) {
      parts.add(fmt::format("{}/{}", folder, name), false, false, true);
    }
  }
  parts.add("/lib64/ld-linux-x86-64.so.2", false, false, true);  // x86-64 psABI
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    const auto slash = line.find('/');
    if (slash == std::string::npos) continue;
    const std::string library = line.substr(slash);
    if (library.find("/libc.so") != std::string::npos) parts.add(library, false, false, true);
  }
  parts.add("/etc/resolv.conf", false);
  parts.add("/dev/net/tun", true, true);
}

/// What else is in a folder that is in the jail because of a socket.
Status look_for_others(const std::string& folder, const std::set<std::string>& named,
                       const Lack& lack) {
  std::error_code failed;
  for (fs::directory_iterator one(folder, failed), end; !failed && one != end;
       one.increment(failed)) {
    if (one->is_socket(failed) || named.contains(one->path().string())) continue;
    return lack(fmt::format("the folder of a socket for itself: {} is in the jail, too",
                            one->path().string()),
                0);
  }
  return {};
}

std::string inside(const std::string& path) { return kBase + path; }

/// Errors: an errno.
int make_place(const JailPart& part) {
  std::error_code failed;
  const fs::path place = inside(part.path);
  if (fs::exists(fs::symlink_status(place, failed))) return 0;
  fs::create_directories(part.folder ? place : place.parent_path(), failed);
  if (failed) return failed.value();
  if (part.folder) return 0;
  const UniqueFd file(::open(place.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  return file.valid() ? 0 : errno;
}

/// True: a device of that number is there for that user.
bool make_device(const JailPart& part, uid_t owner) {
  struct stat info {};
  if (::fstat(part.source.get(), &info) != 0 || !S_ISCHR(info.st_mode)) return false;
  std::error_code failed;
  const fs::path place = inside(part.path);
  fs::create_directories(place.parent_path(), failed);
  if (failed || ::mknod(place.c_str(), S_IFCHR | 0600, info.st_rdev) != 0) return false;
  if (::chown(place.c_str(), owner, static_cast<gid_t>(-1)) == 0) {
    // A host may make devices and not let them be opened.
    const UniqueFd opened(::open(place.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (opened.valid()) return true;
  }
  (void)::unlink(place.c_str());
  return false;
}

Status mount_part(const JailPart& part) {
  const unsigned recursive = part.folder ? AT_RECURSIVE : 0;
  const UniqueFd tree(
      static_cast<int>(::syscall(SYS_open_tree, part.source.get(), "",
                                 AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | recursive)));
  if (!tree.valid()) return fail_errno(part.path);
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_NOSUID;
  if (!part.writable) attributes.attr_set |= MOUNT_ATTR_RDONLY;
  if (!part.device) attributes.attr_set |= MOUNT_ATTR_NODEV;
  if (!part.program) attributes.attr_set |= MOUNT_ATTR_NOEXEC;
  struct stat info {};
  // A block device is opened by its file.
  if (::fstat(part.source.get(), &info) == 0 && S_ISBLK(info.st_mode)) {
    attributes.attr_set &= ~static_cast<std::uint64_t>(MOUNT_ATTR_NODEV);
  }
  if (::syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH | recursive, &attributes,
                sizeof attributes) != 0) {
    return fail_errno(part.path + ": cannot be made read-only");
  }
  if (const int error = make_place(part); error != 0) return fail_errno(part.path, error);
  if (::syscall(SYS_move_mount, tree.get(), "", AT_FDCWD, inside(part.path).c_str(),
                MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return fail_errno(part.path);
  }
  return {};
}

/// /proc. What is there outside shows all processes.
Status mount_processes(bool own, const UniqueFd& outside, const Lack& lack) {
  const std::string place = inside("/proc");
  (void)::mkdir(place.c_str(), kRootMode);
  constexpr unsigned long kFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (own) {
    if (::mount("proc", place.c_str(), "proc", kFlags, "subset=pid") == 0) return {};  // Linux 5.8
    if (::mount("proc", place.c_str(), "proc", kFlags, nullptr) == 0) return {};
  }
  if (auto told = lack("a /proc of its own", own ? errno : 0); !told) return told;
  if (!outside.valid()) return {};
  const UniqueFd tree(static_cast<int>(
      ::syscall(SYS_open_tree, outside.get(), "", AT_EMPTY_PATH | OPEN_TREE_CLONE | AT_RECURSIVE)));
  if (tree.valid()) {
    (void)::syscall(SYS_move_mount, tree.get(), "", AT_FDCWD, place.c_str(),
                    MOVE_MOUNT_F_EMPTY_PATH);
  }
  return {};
}

}  // namespace

std::vector<std::string> make_outputs(const HostNeeds& needs, std::optional<uid_t> owner) {
  std::vector<std::string> made;
  for (const HostPath& one : needs.paths) {
    if (one.use != HostUse::kOutput) continue;
    const UniqueFd file(
        ::open(one.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOCTTY | O_CLOEXEC, 0644));
    if (!file.valid()) continue;
    made.push_back(one.path);
    if (owner) (void)!::fchown(file.get(), *owner, static_cast<gid_t>(-1));
  }
  return made;
}

Result<std::vector<JailPart>> jail_parts(const HostNeeds& needs, const Lack& lack) {
  Parts parts;
  std::set<std::string> named;
  std::set<std::string> folders;
  parts.add("/dev/kvm", true, true);
  parts.add("/dev/null", true, true);
  parts.add("/etc/localtime", false);
  for (const HostPath& one : needs.paths) {
    named.insert(clean(one.path));
    switch (one.use) {
      case HostUse::kRead:
      case HostUse::kReadBelow: {
        struct stat info {};
        const bool device = ::stat(one.path.c_str(), &info) == 0 && S_ISCHR(info.st_mode);
        parts.add(one.path, false, device);
        break;
      }
      case HostUse::kOutput:
      case HostUse::kMedium:
      case HostUse::kWriteBelow:
      case HostUse::kFillBelow:
        parts.add(one.path, true);
        break;
      case HostUse::kDevice:
        parts.add(one.path, true, true);
        break;
      case HostUse::kListens:
      case HostUse::kConnects:
        // Who serves a socket anew makes another file.
        parts.add(folder_of(one.path), one.use == HostUse::kListens);
        folders.insert(folder_of(one.path));
        break;
    }
  }
  if (needs.programs) add_programs(parts);
  for (const std::string& folder : folders) {
    if (auto told = look_for_others(folder, named, lack); !told) return forward(told);
  }
  return parts.take();
}

Status change_root(std::vector<JailPart> parts, std::optional<uid_t> device_owner,
                   bool own_processes, const Lack& lack) {
  std::error_code failed;
  const fs::path here = fs::current_path(failed);
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    // In a chroot, whose mounts are shared with the host's.
    return lack("a root of its own: that which there is, is no mount", errno);
  }
  // All that is needed of what the new root will cover.
  const UniqueFd processes(::open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (JailPart& part : parts) {
    part.source = UniqueFd(::open(part.path.c_str(), O_PATH | O_CLOEXEC));
    if (!part.source.valid()) return fail_errno(part.path);
  }
  if (::mount("bellhop", kBase, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=1m") != 0) {
    return fail_errno("no file system in memory");
  }
  // The device of pseudo terminals looks for them beside itself, which it does not find as a mount.
  std::ranges::stable_partition(parts,
                                [](const JailPart& part) { return part.path != kTerminals; });
  for (const JailPart& part : parts) {
    const std::optional<uid_t> owner =
        part.path == kTerminals ? device_owner.value_or(::geteuid()) : device_owner;
    if (part.device && owner && make_device(part, *owner)) continue;
    if (auto mounted = mount_part(part); !mounted) return mounted;
  }
  if (auto mounted = mount_processes(own_processes, processes, lack); !mounted) return mounted;
  if (!here.empty()) fs::create_directories(inside(here.string()), failed);
  if (::chdir(kBase) != 0 || ::syscall(SYS_pivot_root, ".", ".") != 0 ||
      ::umount2(".", MNT_DETACH) != 0 || ::chdir("/") != 0) {
    return fail_errno("the root cannot be changed");
  }
  // Nothing is written there: not even what would be lost with it.
  if (::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC,
              nullptr) != 0) {
    return fail_errno("the root cannot be made read-only");
  }
  if (!here.empty()) (void)!::chdir(here.c_str());
  return {};
}

}  // namespace bellhop::sandbox
