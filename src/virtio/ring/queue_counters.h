#pragma once

#include "base/relaxed_counter.h"

namespace bellhop {

/// What happened on one queue since it was made. Written by whoever holds the queue; read by
/// anyone.
struct QueueCounters {
  RelaxedCounter kicks;             ///< notifications that arrived
  RelaxedCounter kicks_by_exit;     ///< ... as a vCPU exit; the others by an eventfd
  RelaxedCounter spurious_kicks;    ///< ... and found the ring empty
  RelaxedCounter chains;            ///< requests taken
  RelaxedCounter completions;       ///< requests given back
  RelaxedCounter batches;           ///< publications of the used index
  RelaxedCounter interrupts;        ///< times the interrupt was rung
  RelaxedCounter interrupts_saved;  ///< publications that the driver hears of with others, or not
  RelaxedCounter system_calls;      ///< of the device's back end for this queue
  RelaxedCounter bad_chains;        ///< guest faults confined to one chain
  RelaxedCounter broken;            ///< guest faults that stopped the queue until reset
};

}  // namespace bellhop
