#pragma once

#include <cstdint>

#include "guest/cmdline.h"

// What the command line asks for. See README.md for the words.
namespace bellhop::guest {

enum class Workload {
  kIdle,
  kCreate,
  kSeqRead,
  kRandRead,
  kRandWrite,
  kPrepare,
  kVerify,
  kNotify,
  kHostile,
  kNetSend,
  kNetReceive,
  kNetPing,
  kNetPackets,
};

struct Options {
  Workload workload = Workload::kIdle;
  const char* workload_name = "idle";
  Text hostile;
  std::uint32_t threads = 1;
  std::uint32_t block_bytes = 4096;
  std::uint64_t milliseconds = 1000;
  std::uint64_t warmup_milliseconds = 0;
  std::uint64_t timeout_milliseconds = 10000;
  std::uint32_t vcpus = 1;
  std::uint32_t queues = 0;  ///< 0: as many as vCPUs and device allow
  std::uint32_t queue_size = 256;
  std::uint32_t disk = 0;
  std::uint32_t poll_us = 0;  ///< look for answers this long before halting
  std::uint64_t span = 0;     ///< 0: the whole disk
  std::uint64_t seed = 0;
  std::uint64_t generation = 0;
  std::uint64_t count = 0;
  std::uint32_t queue_resets = 0;  ///< of the first queue, while requests go on
  bool indirect = true;
  bool packed = false;
  bool in_order = false;
  bool event_idx = true;
  bool spin = false;
  bool storm = false;        ///< surplus vCPUs ring the queues of the others without a pause
  bool witness = false;      ///< hostile: vCPU 1 works on the next disk meanwhile
  bool stamps = false;       ///< tell the device when requests are offered and seen
  bool check = true;         ///< what is read, and a sample of what was written
  bool publish_each = true;  ///< show each request at once, still with one kick for a batch

  const char* ring_name() const {
    if (packed) return indirect ? "packed" : "packed-direct";
    return indirect ? "indirect" : "direct";
  }
  bool timed() const { return workload != Workload::kPrepare && workload != Workload::kVerify; }
  bool needs_nic() const { return workload >= Workload::kNetSend; }
  bool needs_disk() const { return workload != Workload::kIdle && !needs_nic(); }
  bool writes() const {
    return workload == Workload::kCreate || workload == Workload::kRandWrite ||
           workload == Workload::kPrepare;
  }
};

/// The number after `key=`; ends the guest with kExitUsage when it is out of range.
std::uint32_t number32(const char* key, std::uint32_t fallback, std::uint32_t low,
                       std::uint32_t high);

/// Reads the command line; ends the guest with kExitUsage when it is wrong.
Options parse_options();

}  // namespace bellhop::guest
