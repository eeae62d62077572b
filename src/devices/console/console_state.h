#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace bellhop {

/// What a console and its driver have told each other of a port.
struct ConsolePortState {
  bool guest_open = false;   ///< a program of the guest reads, and wants what comes
  bool added = false;        ///< the driver has the port
  bool told_open = false;    ///< it thinks that a peer is at the host's end
  std::uint8_t pending = 0;  ///< what it is still to be told, by ConsoleControl's bits
  friend bool operator==(const ConsolePortState&, const ConsolePortState&) = default;
};

/// A console's own state as bytes, for another console in another process.
std::vector<std::byte> write_console_state(std::span<const ConsolePortState> ports);
/// Errors: not the state of a console with so many ports.
Result<std::vector<ConsolePortState>> read_console_state(std::span<const std::byte> bytes,
                                                         std::size_t ports);

}  // namespace bellhop
