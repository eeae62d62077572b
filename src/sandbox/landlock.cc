#include "sandbox/landlock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <string>

#include "sandbox/landlock_abi.h"

namespace bellhop::sandbox {

using namespace landlock;

namespace {

constexpr std::uint64_t kOfFiles = kExecute | kWriteFile | kReadFile | kTruncate | kIoctlDev;
constexpr std::uint64_t kToRead = kReadFile | kReadDir | kIoctlDev;
/// Neither folders nor links nor devices: nothing here makes any.
constexpr std::uint64_t kToWrite =
    kWriteFile | kTruncate | kIoctlDev | kMakeReg | kMakeSock | kMakeFifo | kRemoveFile;

/// All that a version can refuse.
RulesetAttributes everything(LandlockVersion version, LandlockRules::Signals signals) noexcept {
  RulesetAttributes all;
  all.handled_access_fs = kRefer - 1;  // the thirteen rights of version 1
  if (version.abi >= 2) all.handled_access_fs |= kRefer;
  if (version.abi >= 3) all.handled_access_fs |= kTruncate;
  if (version.abi >= 4) all.handled_access_net = kBindTcp | kConnectTcp;
  if (version.abi >= 5) all.handled_access_fs |= kIoctlDev;
  if (version.abi >= 6) {
    all.scoped = kScopeAbstractUnixSocket;
    // Before that was mended a thread could not even signal another one of its own process.
    const bool mended = (version.errata & kErratumThreadSignals) != 0;
    if (mended && signals == LandlockRules::Signals::kRefused) all.scoped |= kScopeSignal;
  }
  return all;
}

std::size_t size_known_by(int abi) noexcept {
  if (abi >= 6) return sizeof(RulesetAttributes);
  return abi >= 4 ? offsetof(RulesetAttributes, scoped)
                  : offsetof(RulesetAttributes, handled_access_net);
}

}  // namespace

LandlockVersion landlock_version() noexcept {
  LandlockVersion version;
  const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, kGetVersion);
  if (abi <= 0) {
    version.error = abi < 0 ? errno : ENOSYS;
    return version;
  }
  version.abi = static_cast<int>(abi);
  const long errata = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, kGetErrata);
  if (errata > 0) version.errata = static_cast<unsigned>(errata);
  return version;
}

Result<LandlockRules> LandlockRules::create(LandlockVersion version, Signals signals) {
  if (version.abi < 1) return fail_errno("the kernel has no Landlock", version.error);
  const RulesetAttributes attributes = everything(version, signals);
  UniqueFd set(static_cast<int>(
      ::syscall(SYS_landlock_create_ruleset, &attributes, size_known_by(version.abi), 0)));
  if (!set.valid()) return fail_errno("the kernel makes no Landlock rules");
  return LandlockRules(std::move(set), attributes.handled_access_fs);
}

Status LandlockRules::allow(const HostPath& path) {
  switch (path.use) {
    case HostUse::kRead:
    case HostUse::kReadBelow:
      return add(path.path.c_str(), kToRead);
    case HostUse::kMedium:
      return add(path.path.c_str(), (kToRead | kToWrite) & kOfFiles);
    case HostUse::kWriteBelow:
      return add(path.path.c_str(), kToRead | kToWrite);
    case HostUse::kFillBelow:
      return add(path.path.c_str(), kToWrite);
    case HostUse::kListens: {
      const std::filesystem::path folder = std::filesystem::path(path.path).parent_path();
      return add(folder.empty() ? "." : folder.c_str(), kRemoveFile);
    }
    case HostUse::kOutput:    // open by then
    case HostUse::kDevice:    // so is that
    case HostUse::kConnects:  // Landlock does not look at who connects to a socket's file
      break;
  }
  return {};
}

Status LandlockRules::allow_listing(const char* folder) { return add(folder, kReadDir); }

Status LandlockRules::add(const char* path, std::uint64_t access) {
  const UniqueFd file(::open(path, O_PATH | O_CLOEXEC));
  struct stat info {};
  if (!file.valid() || ::fstat(file.get(), &info) != 0) return fail_errno(path);
  if (!S_ISDIR(info.st_mode)) access &= kOfFiles;
  const PathBeneath rule{.allowed_access = access & handled_, .parent_fd = file.get()};
  if (rule.allowed_access == 0) return {};
  if (::syscall(SYS_landlock_add_rule, set_.get(), kRulePathBeneath, &rule, 0) == 0) return {};
  return fail_errno(fmt::format("{}: no Landlock rule", path));
}

Status LandlockRules::restrict_this_thread() const {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) != 0) {
    return fail_errno("no_new_privs cannot be set");
  }
  if (::syscall(SYS_landlock_restrict_self, set_.get(), 0) == 0) return {};
  return fail_errno("the kernel takes no Landlock rules");
}

}  // namespace bellhop::sandbox
