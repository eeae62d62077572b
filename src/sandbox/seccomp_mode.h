#pragma once

#include <cstdint>

namespace bellhop {

/// What becomes of a thread that makes a system call which its kind has no use for.
enum class SeccompMode : std::uint8_t {
  kKill,   ///< one line on standard error, and the process ends by SIGSYS
  kErrno,  ///< the call fails: EPERM
  kLog,    ///< one line for each kind of thread and call; the call is made
  kOff,
};

/// What is meant where nothing is said. `off` until all tests of the whole program, those with
/// stock guests among them, have run under `kill`.
inline constexpr SeccompMode kDefaultSeccomp = SeccompMode::kOff;

/// The runtimes of the sanitizers make calls of their own, which are in no table of ours.
#if defined(BELLHOP_UNDER_ASAN) || defined(BELLHOP_UNDER_TSAN)
inline constexpr bool kSeccompSupported = false;
#else
inline constexpr bool kSeccompSupported = true;
#endif

}  // namespace bellhop
