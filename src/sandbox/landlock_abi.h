#pragma once

#include <cstdint>

// The kernel's interface of Landlock (landlock(7)), up to version 6 of it, whichever version the
// headers of the host have that this is built on.

namespace bellhop::sandbox::landlock {

// Flags of landlock_create_ruleset().
inline constexpr std::uint32_t kGetVersion = 1U << 0;
inline constexpr std::uint32_t kGetErrata = 1U << 1;

inline constexpr int kRulePathBeneath = 1;

// handled_access_fs, and what a rule allows. With the version that has them first.
inline constexpr std::uint64_t kExecute = 1U << 0;
inline constexpr std::uint64_t kWriteFile = 1U << 1;
inline constexpr std::uint64_t kReadFile = 1U << 2;
inline constexpr std::uint64_t kReadDir = 1U << 3;
inline constexpr std::uint64_t kRemoveDir = 1U << 4;
inline constexpr std::uint64_t kRemoveFile = 1U << 5;
inline constexpr std::uint64_t kMakeChar = 1U << 6;
inline constexpr std::uint64_t kMakeDir = 1U << 7;
inline constexpr std::uint64_t kMakeReg = 1U << 8;
inline constexpr std::uint64_t kMakeSock = 1U << 9;
inline constexpr std::uint64_t kMakeFifo = 1U << 10;
inline constexpr std::uint64_t kMakeBlock = 1U << 11;
inline constexpr std::uint64_t kMakeSym = 1U << 12;
inline constexpr std::uint64_t kRefer = 1U << 13;     // 2
inline constexpr std::uint64_t kTruncate = 1U << 14;  // 3
inline constexpr std::uint64_t kIoctlDev = 1U << 15;  // 5

// handled_access_net: version 4.
inline constexpr std::uint64_t kBindTcp = 1U << 0;
inline constexpr std::uint64_t kConnectTcp = 1U << 1;

// scoped: version 6.
inline constexpr std::uint64_t kScopeAbstractUnixSocket = 1U << 0;
inline constexpr std::uint64_t kScopeSignal = 1U << 1;
/// Of kGetErrata: threads of one process may signal each other, whatever their domains are.
inline constexpr unsigned kErratumThreadSignals = 1U << (2 - 1);

/// struct landlock_ruleset_attr. Version 1 has the first field only, 4 the second, 6 all.
struct RulesetAttributes {
  std::uint64_t handled_access_fs = 0;
  std::uint64_t handled_access_net = 0;
  std::uint64_t scoped = 0;
};

/// struct landlock_path_beneath_attr, without bytes at its end that mean nothing.
struct __attribute__((packed)) PathBeneath {
  std::uint64_t allowed_access = 0;
  std::int32_t parent_fd = -1;
};

}  // namespace bellhop::sandbox::landlock
