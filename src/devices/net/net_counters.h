#pragma once

#include "base/relaxed_counter.h"
#include "base/shared_counter.h"

namespace bellhop {

/// What became of the frames of one receive queue. Bytes are those of frames, headers of virtio not
/// included.
struct alignas(64) NetRxCounters {
  RelaxedCounter frames;
  RelaxedCounter bytes;
  RelaxedCounter starved;         ///< times the driver had no buffers left: frames waited
  RelaxedCounter dropped_filter;  ///< not wanted by the driver
  RelaxedCounter dropped_link_down;
  RelaxedCounter dropped_no_room;  ///< longer than the driver's buffers
  RelaxedCounter dropped_error;    ///< cut short, or with offloads that this driver has not
  RelaxedCounter guest_faults;     ///< buffers that nothing can be received into
};

/// The same for one transmit queue.
struct alignas(64) NetTxCounters {
  RelaxedCounter frames;
  RelaxedCounter bytes;
  RelaxedCounter joined;             ///< frames that left behind another one, as part of a train
  RelaxedCounter blocked;            ///< times the host had no room: frames waited
  RelaxedCounter dropped_link_down;  ///< ... or the host's interface was
  RelaxedCounter dropped_error;      ///< the host refused them
  RelaxedCounter guest_faults;       ///< no frames, or with headers that make no sense
};

/// And for the commands of the control queue.
struct alignas(64) NetControlCounters {
  RelaxedCounter commands;
  SharedCounter refused;  ///< and writes to the configuration space, which vCPUs make
};

}  // namespace bellhop
