#pragma once

#include <cstdint>

namespace bellhop {

/// What comes of a press of a machine's power button.
enum class ButtonPress : std::uint8_t {
  kNoDriver,  ///< since power-on the guest has not set up its power management, or it has ended
  kUnheard,   ///< it has, and does not listen to the button now; the press is remembered
  kHeard,     ///< it is told
};

}  // namespace bellhop
