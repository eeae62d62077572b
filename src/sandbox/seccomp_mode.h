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

/// The runtimes of the sanitizers make calls of their own, which are in no table of ours.
#if defined(BELLHOP_UNDER_ASAN) || defined(BELLHOP_UNDER_TSAN)
inline constexpr bool kSeccompSupported = false;
#else
inline constexpr bool kSeccompSupported = true;
#endif

/// What is meant where nothing is said.
inline constexpr SeccompMode kDefaultSeccomp =
    kSeccompSupported ? SeccompMode::kKill : SeccompMode::kOff;

}  // namespace bellhop
