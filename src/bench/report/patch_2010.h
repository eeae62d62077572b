#pragma once

#include "bench/blk/blk_cell.h"
#include "bench/net/net_cell.h"

namespace bellhop::bench {

/// Khoa Huynh's FFSB figures in MB/s, from the 2010 patch that asked for bytes per host CPU
/// second: cache=none, aio=native; "unmodified" notifies synchronously in the vCPU's thread,
/// "patched" by ioeventfd in the I/O thread.
struct Patch2010Blk {
  Workload workload;
  unsigned threads;
  double unmodified;
  double patched;
};

inline constexpr Patch2010Blk kPatch2010Blk[] = {
    {Workload::kCreate, 1, 21.7, 21.8},     {Workload::kCreate, 8, 101.0, 118.0},
    {Workload::kCreate, 16, 119.0, 157.0},  {Workload::kSeqRead, 1, 21.9, 23.2},
    {Workload::kSeqRead, 8, 114.0, 139.0},  {Workload::kSeqRead, 16, 143.0, 178.0},
    {Workload::kRandRead, 1, 3.3, 3.6},     {Workload::kRandRead, 8, 23.0, 25.4},
    {Workload::kRandRead, 16, 43.3, 47.8},  {Workload::kRandWrite, 1, 22.2, 23.0},
    {Workload::kRandWrite, 8, 93.1, 111.6}, {Workload::kRandWrite, 16, 110.5, 132.0},
};

/// Null where the 2010 patch has no such row.
constexpr const Patch2010Blk* find_patch_2010(Workload workload, unsigned threads) noexcept {
  for (const Patch2010Blk& figure : kPatch2010Blk) {
    if (figure.workload == workload && figure.threads == threads) return &figure;
  }
  return nullptr;
}

/// Sridhar Samudrala's TCP_STREAM figures in Mb/s, in the same patch: a 2.6.36-rc1 host, a 2.6.34
/// guest.
struct Patch2010Net {
  Direction direction;
  unsigned message_bytes;
  double vhost;
  double unmodified;
  double patched;
};

inline constexpr Patch2010Net kPatch2010Net[] = {
    {Direction::kGuestToHost, 65536, 12755, 6430, 7590},
    {Direction::kGuestToHost, 16384, 8499, 3084, 5764},
    {Direction::kGuestToHost, 4096, 4723, 1578, 3659},
    {Direction::kGuestToHost, 1024, 1827, 981, 2060},
    {Direction::kHostToGuest, 65536, 11156, 5790, 5853},
    {Direction::kHostToGuest, 16384, 10787, 5575, 5691},
    {Direction::kHostToGuest, 4096, 10452, 5556, 4277},
    {Direction::kHostToGuest, 1024, 4437, 3671, 5277},
};

/// Null where the 2010 patch has no such row.
constexpr const Patch2010Net* find_patch_2010(Direction direction,
                                              unsigned message_bytes) noexcept {
  for (const Patch2010Net& figure : kPatch2010Net) {
    if (figure.direction == direction && figure.message_bytes == message_bytes) return &figure;
  }
  return nullptr;
}

}  // namespace bellhop::bench
