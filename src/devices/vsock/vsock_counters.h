#pragma once

#include "base/relaxed_counter.h"
#include "base/shared_counter.h"

namespace bellhop {

/// What a socket device has carried. One writer at a time: whoever holds its muxer.
struct VsockCounters {
  RelaxedCounter rx_packets;  ///< to the guest, of all kinds
  RelaxedCounter rx_bytes;    ///< payload
  RelaxedCounter rx_starved;  ///< times there was something to say and the driver had no buffer
  RelaxedCounter tx_packets;
  RelaxedCounter tx_bytes;
  RelaxedCounter tx_blocked;        ///< times too many answers waited for the driver's buffers
  RelaxedCounter from_host;         ///< connections that the host asked for
  RelaxedCounter from_guest;        ///< ... and the guest
  RelaxedCounter refused_by_host;   ///< of the guest's: nobody listens there
  RelaxedCounter refused_by_guest;  ///< of the host's
  SharedCounter refused_too_many;   ///< by its door too
  SharedCounter timed_out;          ///< no answer from the guest, or no CONNECT line from the host
  RelaxedCounter resets;            ///< RST packets sent to the guest
  RelaxedCounter guest_faults;
  SharedCounter other_faults;  ///< configuration writes, buffers for events: by any thread
};

}  // namespace bellhop
