#include "base/file_roles.h"

#include <fmt/format.h>

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

namespace bellhop {

namespace {

constexpr int kMaxLinks = 40;  // what the kernel follows (path_resolution(7))

bool may_share(FileUse one, FileUse other) noexcept {
  if (one == FileUse::kPrinted) std::swap(one, other);
  if (other == FileUse::kPrinted) return one == FileUse::kPrinted || one == FileUse::kOutput;
  return one == FileUse::kRead && other == FileUse::kRead;
}

}  // namespace

bool FileRoles::identify(const struct stat& info, Identity& file) {
  file.block_device = S_ISBLK(info.st_mode);
  if (!file.block_device && !S_ISREG(info.st_mode)) return false;
  file.device = file.block_device ? info.st_rdev : info.st_dev;
  file.inode = file.block_device ? 0 : info.st_ino;
  return true;
}

bool FileRoles::identify(const std::string& path, Identity& file) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0) return identify(info, file);
  if (errno != ENOENT) return false;
  // Opening it would make it: at the end of the links that lead nowhere yet.
  namespace fs = std::filesystem;
  fs::path target = path;
  std::error_code failed;
  for (int links = 0; links < kMaxLinks && fs::is_symlink(target, failed); ++links) {
    target = target.parent_path() / fs::read_symlink(target, failed);
  }
  const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
  if (::stat(folder.c_str(), &info) != 0) return false;
  file = {.block_device = false,
          .device = info.st_dev,
          .inode = info.st_ino,
          .name = target.filename()};
  return true;
}

Status FileRoles::add(std::string_view option, const std::string& path, FileUse use) {
  Identity file;
  if (!identify(path, file)) return {};
  return add(option, path, std::move(file), use);
}

Status FileRoles::add(std::string_view option, int fd, FileUse use) {
  struct stat info {};
  Identity file;
  if (::fstat(fd, &info) != 0 || !identify(info, file)) return {};
  return add(option, "its file", std::move(file), use);
}

Status FileRoles::add(std::string_view option, const std::string& path, Identity file,
                      FileUse use) {
  for (const Role& other : roles_) {
    if (other.file != file || may_share(use, other.use)) continue;
    return fail(
        fmt::format("{}: {} is the file of {}, too; only one that neither of them writes "
                    "can be shared",
                    option, path, other.option));
  }
  roles_.push_back({std::move(file), std::string(option), use});
  return {};
}

void FileRoles::forget(std::string_view option) {
  std::erase_if(roles_, [option](const Role& role) { return role.option == option; });
}

}  // namespace bellhop
