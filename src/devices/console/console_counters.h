#pragma once

#include "base/shared_counter.h"

namespace bellhop {

/// What went through a console's ports. Any thread writes them.
struct ConsoleCounters {
  SharedCounter rx_bytes;          ///< to the guest
  SharedCounter tx_bytes;          ///< to the host, or into the backlog on the way there
  SharedCounter tx_dropped_bytes;  ///< nobody was there, or nobody read for too long
  SharedCounter tx_blocked;        ///< times the host had no room
  SharedCounter connects;          ///< peers that came
  SharedCounter control_messages;  ///< from the driver
  SharedCounter resizes;           ///< that the driver was told of
  SharedCounter guest_faults;      ///< messages and buffers that make no sense, writes to registers
};

}  // namespace bellhop
