#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/harness/machine_cell.h"
#include "block/raw_file.h"
#include "config/machine_config.h"
#include "virtio/queue/notify_mode.h"

namespace bellhop::bench {

/// The four of the 2010 patch.
enum class Workload : std::uint8_t { kCreate, kSeqRead, kRandRead, kRandWrite };

/// Which rings the driver has; in order: with VIRTIO_F_IN_ORDER.
enum class RingLayout : std::uint8_t { kSplit, kPacked, kSplitInOrder, kPackedInOrder };

/// One cell of a sweep of `bellhop bench blk`.
struct BlkCell {
  Workload workload = Workload::kCreate;
  unsigned threads = 1;
  unsigned vcpus = 1;  ///< 0: without a VM, where the driver is in this process
  Placement placement = Placement::kFree;
  Vmm vmm = Vmm::kBellhop;
  NotifyMode notify = NotifyMode::kSync;
  RingLayout ring = RingLayout::kSplit;
  friend auto operator<=>(const BlkCell&, const BlkCell&) = default;
};

/// Which cells; every list is one that the command line can narrow.
struct BlkSweep {
  std::vector<Workload> workloads = {Workload::kCreate, Workload::kSeqRead, Workload::kRandRead,
                                     Workload::kRandWrite};
  std::vector<unsigned> threads = {1, 8, 16};
  std::vector<unsigned> vcpus = {1};
  std::vector<Placement> placements;
  std::vector<Vmm> vmms = {Vmm::kBellhop};
  std::vector<NotifyMode> notify = {NotifyMode::kSync, NotifyMode::kIoEventFd};
  std::vector<RingLayout> rings = {RingLayout::kSplit};
};

const char* to_string(Workload workload) noexcept;
const char* to_string(Cache cache) noexcept;
const char* to_string(RingLayout ring) noexcept;
/// Of virtio, beside virtio::kRingFeatures.
std::uint64_t features_of(RingLayout ring) noexcept;
/// The 2010 patch's name of it: "Large file create".
const char* title(Workload workload) noexcept;
/// "bellhop randread x16 ioeventfd other-core, 1 vCPU", and ", packed" where the rings are not
/// split.
std::string describe(const BlkCell& cell);

/// Whether reports have the ratio of `cell` to `base`: another way to notify to sync, or Bellhop to
/// a peer, everything else the same.
bool is_compared(const BlkCell& cell, const BlkCell& base);

/// In the order in which they are run: the cells of one compared set (same workload, threads and
/// vCPUs) stand together.
std::vector<std::vector<BlkCell>> compared_sets(const BlkSweep& sweep);

}  // namespace bellhop::bench
