#include "sandbox/cgroup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>
#include <utility>

#include "base/split.h"
#include "base/unique_fd.h"

namespace bellhop::sandbox {

namespace {

constexpr mode_t kFolderMode = 0755;
/// How long what was killed may take to be gone.
constexpr std::chrono::seconds kEndPatience{5};

/// 0 or an errno.
int put(const std::string& file, std::string_view text) noexcept {
  const UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return errno;
  return ::write(fd.get(), text.data(), text.size()) < 0 ? errno : 0;
}

std::string contents(const std::string& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

/// Where version 2 is mounted, and which of its folders is at the mount's root.
struct Mount {
  std::string point;
  std::string root;
};

Result<Mount> find_mount() {
  std::ifstream mounts("/proc/self/mountinfo");  // proc(5)
  for (std::string line; std::getline(mounts, line);) {
    const auto dash = line.find(" - ");
    if (dash == std::string::npos || line.compare(dash + 3, 8, "cgroup2 ") != 0) continue;
    const auto words = split(line, ' ');
    if (words.size() > 4) return Mount{std::string(words[4]), std::string(words[3])};
  }
  return fail("this host has no cgroups of version 2", ENOENT);
}

/// This process's own, as a folder.
Result<std::string> find_own(const Mount& mount) {
  std::ifstream all("/proc/self/cgroup");
  for (std::string line; std::getline(all, line);) {
    if (!line.starts_with("0::")) continue;
    std::string path = line.substr(3);
    if (mount.root != "/" && path.starts_with(mount.root)) path.erase(0, mount.root.size());
    return mount.point + (path == "/" ? "" : path);
  }
  return fail("this process is in no cgroup of version 2", ENOENT);
}

/// Those that `values` need.
std::set<std::string> controllers_of(std::span<const CgroupValue> values) {
  std::set<std::string> all;
  for (const CgroupValue& one : values) {
    std::string controller = one.file.substr(0, one.file.find('.'));
    if (controller != "cgroup") all.insert(std::move(controller));
  }
  return all;
}

/// Whether a file of controllers ("cpu memory\n") has this one.
bool lists(const std::string& file, std::string_view controller) {
  const std::string text = contents(file);
  const auto words = split(std::string_view(text).substr(0, text.find('\n')), ' ');
  return std::ranges::find(words, controller) != words.end();
}

std::string control_of(const std::string& folder) { return folder + "/cgroup.subtree_control"; }

/// Has the children of `folder` get a controller; where it has none itself, so do those above it
/// first, from `top` on. Errors: its code is what the kernel says of the folder in the message.
Status switch_on(const std::string& folder, const std::string& top, const std::string& controller) {
  if (lists(control_of(folder), controller)) return {};
  if (!lists(folder + "/cgroup.controllers", controller)) {
    if (folder == top) {
      return fail(
          fmt::format("--cgroup: {} has no controller {} for its children", folder, controller),
          ENOENT);
    }
    if (auto on = switch_on(folder.substr(0, folder.rfind('/')), top, controller); !on) return on;
  }
  const int error = put(control_of(folder), "+" + controller);
  if (error == 0) return {};
  return fail_errno(fmt::format("--cgroup: the controller {} cannot be switched on in {}",
                                controller, control_of(folder)),
                    error);
}

/// Makes what is not there of the path `below` a folder, and returns all of it. What was made is
/// added to `made`. Errors: the host refuses one.
Result<std::string> make_folders(const std::string& folder, std::string_view below,
                                 std::vector<std::string>& made) {
  std::string path = folder;
  for (const std::string_view name : split(below, '/')) {
    if (name.empty()) continue;
    path += fmt::format("/{}", name);
    if (::mkdir(path.c_str(), kFolderMode) == 0) {
      made.push_back(path);
    } else if (errno != EEXIST) {
      return fail_errno(fmt::format("--parent-cgroup: {} cannot be made", path));
    }
  }
  return path;
}

Status check_name(const CgroupValue& value) {
  const bool good = value.file.find('/') == std::string::npos &&
                    value.file.find('.') != std::string::npos && value.file.front() != '.' &&
                    value.file != "cgroup.procs" && value.file != "cgroup.threads";
  if (good) return {};
  return fail(
      fmt::format("--cgroup: '{}' is wrong; it must be a file of cgroups such as memory.max, "
                  "pids.max, cpu.max or cpuset.cpus",
                  value.file));
}

}  // namespace

Result<Cgroup> Cgroup::create(const std::string& name, const std::string& parent,
                              std::span<const CgroupValue> values) {
  for (const CgroupValue& one : values) {
    if (auto good = check_name(one); !good) return forward(good);
  }
  const auto mount = find_mount();
  if (!mount) return fail("--cgroup: " + mount.error().message, mount.error().code);
  const auto own = find_own(*mount);
  if (parent.empty() && !own) return fail("--cgroup: " + own.error().message, own.error().code);
  Cgroup made;
  auto below = parent.empty() ? own : make_folders(mount->point, parent, made.parents_);
  if (!below) return forward(below);
  made.parent_ = *std::move(below);
  const std::set<std::string> wanted = controllers_of(values);
  if (parent.empty()) {
    if (auto on = made.enable_in_own(wanted); !on) return forward(on);
  }
  for (const std::string& one : wanted) {
    if (auto on = switch_on(made.parent_, mount->point, one); !on) return forward(on);
  }
  const std::string folder = made.parent_ + "/" + name;
  (void)::rmdir(folder.c_str());  // of a machine that was killed; not if anything runs in it
  if (::mkdir(folder.c_str(), kFolderMode) != 0) {
    return fail_errno(fmt::format("--cgroup: {} cannot be made", folder));
  }
  made.folder_ = folder;
  for (const CgroupValue& one : values) {
    const int error = put(folder + "/" + one.file, one.value);
    if (error == ENOENT) {
      return fail(fmt::format("--cgroup: {}: there is no such file in {}", one.file, folder),
                  error);
    }
    if (error != 0) {
      return fail_errno(fmt::format("--cgroup: {}={} is not taken", one.file, one.value), error);
    }
  }
  made.parents_.clear();
  return made;
}

Status Cgroup::enable_in_own(const std::set<std::string>& controllers) {
  const bool all = std::ranges::all_of(
      controllers, [&](const std::string& one) { return lists(control_of(parent_), one); });
  if (all) return {};
  if (auto left = leave_own(); !left) return left;
  for (const std::string& one : controllers) {
    if (lists(control_of(parent_), one)) continue;
    if (auto on = switch_on(parent_, parent_, one); !on) return on;
    enabled_ += (enabled_.empty() ? "" : " ") + one;
  }
  return {};
}

// A cgroup has processes or controllers for its children, not both. The kernel does let cpu, cpuset
// and pids be switched on beside processes, for cgroups of threads: then its children take none.
Status Cgroup::leave_own() {
  if (::access((parent_ + "/cgroup.type").c_str(), F_OK) != 0) return {};  // the root may have both
  const std::string leaf = fmt::format("{}/supervisor-{}", parent_, ::getpid());
  if (::mkdir(leaf.c_str(), kFolderMode) != 0) {
    return fail_errno(fmt::format("--cgroup: {} cannot be made", leaf));
  }
  if (const int error = put(leaf + "/cgroup.procs", "0"); error != 0) {
    (void)::rmdir(leaf.c_str());
    return fail_errno(fmt::format("--cgroup: {} takes no process", leaf), error);
  }
  left_ = leaf;
  if (contents(parent_ + "/cgroup.procs").empty()) return {};
  return fail(fmt::format("--cgroup: {} has other processes: it cannot be divided", parent_),
              EBUSY);
}

Cgroup::Cgroup(Cgroup&& other) noexcept
    : parents_(std::exchange(other.parents_, {})),
      parent_(std::move(other.parent_)),
      folder_(std::exchange(other.folder_, {})),
      left_(std::exchange(other.left_, {})),
      enabled_(std::move(other.enabled_)) {}

Cgroup::~Cgroup() {
  if (!folder_.empty()) {
    (void)put(folder_ + "/cgroup.kill", "1");  // Linux 5.14
    const auto end = std::chrono::steady_clock::now() + kEndPatience;
    while (::rmdir(folder_.c_str()) != 0 && errno == EBUSY &&
           std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  for (auto one = parents_.rbegin(); one != parents_.rend(); ++one) (void)::rmdir(one->c_str());
  if (left_.empty()) return;
  for (const std::string_view one : split(enabled_, ' ')) {
    (void)put(control_of(parent_), fmt::format("-{}", one));
  }
  if (put(parent_ + "/cgroup.procs", "0") == 0) (void)::rmdir(left_.c_str());
}

Status Cgroup::take(pid_t process) const {
  const int error = put(folder_ + "/cgroup.procs", fmt::format("{}", process));
  if (error == 0) return {};
  return fail_errno(fmt::format("--cgroup: {} takes no process", folder_), error);
}

}  // namespace bellhop::sandbox
