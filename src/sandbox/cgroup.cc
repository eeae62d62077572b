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

/// "memory pids": those that `values` need.
std::set<std::string> controllers_of(std::span<const CgroupValue> values) {
  std::set<std::string> all;
  for (const CgroupValue& one : values) {
    const std::string controller = one.file.substr(0, one.file.find('.'));
    if (controller != "cgroup") all.insert(controller);
  }
  return all;
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
  made.parent_ = parent.empty() ? *own : mount->point + "/" + parent;
  if (!parent.empty() && ::mkdir(made.parent_.c_str(), kFolderMode) != 0 && errno != EEXIST) {
    return fail_errno(fmt::format("--parent-cgroup: {} cannot be made", made.parent_));
  }
  if (auto on = made.enable(fmt::format("{}", fmt::join(controllers_of(values), " "))); !on) {
    return forward(on);
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
  return made;
}

Status Cgroup::enable(const std::string& controllers) {
  const std::string control = parent_ + "/cgroup.subtree_control";
  const auto there = contents(parent_ + "/cgroup.controllers");
  const auto on = contents(control);
  for (const std::string_view wanted : split(controllers, ' ')) {
    const auto is_in = [&](const std::string& list) {
      const auto words = split(std::string_view(list).substr(0, list.find('\n')), ' ');
      return std::ranges::find(words, wanted) != words.end();
    };
    if (wanted.empty() || is_in(on)) continue;
    if (!is_in(there)) {
      return fail(fmt::format("--cgroup: {} has no controller {} for its children ({})", parent_,
                              wanted, there.empty() ? "it has none" : "cgroup.controllers"),
                  ENOENT);
    }
    const std::string text = fmt::format("+{}", wanted);
    int error = put(control, text);
    if (error == EBUSY && left_.empty()) {
      // A cgroup has processes or controllers for its children, not both.
      const std::string leaf = fmt::format("{}/supervisor-{}", parent_, ::getpid());
      if (::mkdir(leaf.c_str(), kFolderMode) == 0) {
        if (put(leaf + "/cgroup.procs", "0") == 0) {
          left_ = leaf;
          error = put(control, text);
        } else {
          (void)::rmdir(leaf.c_str());
        }
      }
    }
    if (error != 0) {
      return fail_errno(
          fmt::format("--cgroup: the controller {} cannot be switched on in {}", wanted, control),
          error);
    }
    enabled_ += (enabled_.empty() ? "" : " ") + std::string(wanted);
  }
  return {};
}

Cgroup::Cgroup(Cgroup&& other) noexcept
    : parent_(std::move(other.parent_)),
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
  if (left_.empty()) return;
  for (const std::string_view one : split(enabled_, ' ')) {
    (void)put(parent_ + "/cgroup.subtree_control", fmt::format("-{}", one));
  }
  if (put(parent_ + "/cgroup.procs", "0") == 0) (void)::rmdir(left_.c_str());
}

Status Cgroup::take(pid_t process) const {
  const int error = put(folder_ + "/cgroup.procs", fmt::format("{}", process));
  if (error == 0) return {};
  return fail_errno(fmt::format("--cgroup: {} takes no process", folder_), error);
}

}  // namespace bellhop::sandbox
