#pragma once

#include <cstdint>

namespace bellhop {

/// Whether a machine may reach only the files that it was given (sandbox/landlock.h).
enum class LandlockMode : std::uint8_t {
  kOff,
  kAuto,  ///< where the kernel has Landlock; where not, one line says so
  kOn,    ///< or it does not start
};

/// What is meant where nothing is said. A machine to which devices are added needs to be told which
/// files they may have, so it is for its user to switch on.
inline constexpr LandlockMode kDefaultLandlock = LandlockMode::kOff;

}  // namespace bellhop
