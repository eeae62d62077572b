#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/thread.h"

namespace bellhop::sandbox {

/// A set of kinds of threads.
using Kinds = std::uint32_t;

constexpr Kinds kinds() noexcept { return 0; }
template <class... Rest>
constexpr Kinds kinds(ThreadKind first, Rest... rest) noexcept {
  return (Kinds{1} << static_cast<unsigned>(first)) | kinds(rest...);
}

/// Of an argument, that `argument & mask` is `value`.
struct Condition {
  unsigned argument = 0;
  std::uint64_t mask = 0;  ///< 0: no condition
  std::uint64_t value = 0;
};

/// A system call that threads of some kinds may make.
struct Rule {
  int number;
  Kinds kinds;
  std::array<Condition, 2> conditions{};
};

/// The one table of what threads need of the kernel. Calls of a kind that it does not have are
/// refused. Conditions on a process's own id have `kOwnProcess` as their value.
std::span<const Rule> rules() noexcept;
inline constexpr std::uint64_t kOwnProcess = ~std::uint64_t{0};

/// Requests of ioctl(), which is one of these rules for each.
struct Request {
  std::uint32_t number;
  Kinds kinds;
};
std::span<const Request> requests() noexcept;

/// As messages and docs/sandbox.md call a kind.
std::string_view name_of(ThreadKind kind) noexcept;
/// All that are ever confined.
std::span<const ThreadKind> confined_kinds() noexcept;

/// How many system calls a kind may make, whatever their arguments; `requests`: of ioctl().
struct CallCount {
  unsigned calls = 0;
  unsigned requests = 0;
};
CallCount count_calls(ThreadKind kind) noexcept;

}  // namespace bellhop::sandbox
